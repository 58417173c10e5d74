"""The demo fleet of `tui-router --demo`: a loopback server that speaks LM Studio's API for six pretend models."""
