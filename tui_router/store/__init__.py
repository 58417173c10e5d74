"""The store: TinyDB over SQLite rows, and the questions that the rest of the program asks of it."""
