"""Running: shards made from the plan and a number alone, by this process, by workers, or by a cluster."""
