"""A bundle behind an HTTP endpoint."""
