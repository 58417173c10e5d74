"""Statistics of the stored turns: how the router does, what goes wrong, and what a change would do."""
