"""Probes on frozen features: the weighted sum of the layers, the heads, their training and evaluation."""
