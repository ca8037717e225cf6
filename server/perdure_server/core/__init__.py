"""Owns what is true about a run: tables of transitions, and decisions that turn them into values.

Pure: no I/O, no clock, no randomness, no asyncio. Instants and ids come in as arguments.
"""
