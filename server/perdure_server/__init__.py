"""The Perdure server: `app` builds it; `api`, `engine`, `store` and `core` are its layers."""
