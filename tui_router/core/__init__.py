"""The words of the product as plain types. Imports nothing from the rest of the program."""
