"""Servers of models: what they serve, how they stream, how they fail, and who answers when one does."""
