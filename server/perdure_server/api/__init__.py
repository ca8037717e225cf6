"""Owns the gRPC door: each method checks its request, delegates to the engine, and answers."""
