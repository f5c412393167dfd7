"""Where an audit lies: parts called by their content, one seal per shard, on a folder or an object store."""
