"""Evaluation without a gradient: examples become centroids, templates or clusters of frozen features."""
