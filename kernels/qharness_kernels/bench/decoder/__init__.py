"""A decoder of random packed weights, whose decode step is one CUDA graph."""
