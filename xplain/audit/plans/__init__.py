"""What an audit will do: items, models, lanes and metrics as asked, their cost, and the plan that its hash names."""
