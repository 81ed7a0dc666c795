"""Training a model: needs the `train` extra (torch, safetensors, matplotlib)."""
