"""Data sets of frame features: lists, stores, packing, synthetic data, samplers and the loader."""
