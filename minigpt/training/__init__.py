"""Training a model: needs the `train` extra (torch, safetensors, matplotlib).

What runs are listed and watched with does without: `runs`, `metrics`, `events`, `progress`,
`chart` and `lock`, which `minigpt runs` and the terminal app import where there is no torch.
"""
