"""Owns the SQLite backend: one file, one writer that commits in groups, readers beside it."""
