"""Which kernels serve a loaded model."""
