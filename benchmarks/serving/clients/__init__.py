"""Clients of other languages, against a real server."""
