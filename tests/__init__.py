"""The tests; README.md says which folder proves what."""
