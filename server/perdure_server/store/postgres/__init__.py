"""Owns the PostgreSQL backend: one database, any number of servers, one writer in each."""
