"""What the store tells: how the router does, what goes wrong, and what a change would do."""
