"""Owns the use cases: each is load, decide, commit, then wake.

Rules are in `core`, rows in `store`.
"""
