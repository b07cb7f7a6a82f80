"""GGUF files as a model source."""
