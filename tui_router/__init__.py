"""tui-router: routes each request to the right local model and learns from one key of feedback."""

__version__ = "0.2.0"
