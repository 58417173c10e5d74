"""Routers: a Request in, a Decision out."""
