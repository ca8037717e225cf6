"""Owns rows on disk: one contract and its backends. Rules about workflows live in `core`."""
