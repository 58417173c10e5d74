"""Pretend model servers for the tests: what real ones do, and what broken ones do."""
