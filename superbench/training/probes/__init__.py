"""Probes on features: the layer mix, heads side by side, their training and evaluation."""
