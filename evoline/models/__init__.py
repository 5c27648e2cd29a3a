"""The local model's weights: which there are, fetching them once, and which one the stack serves."""
