"""Owns what is true about a run: tables of transitions, and functions that turn a state and a stimulus into a value.

Pure: no I/O, no clock, no randomness, no asyncio. Instants and ids come in as arguments.
"""
