"""Owns the REST and SSE door: JSON in and out of the same RPCs that gRPC serves."""
