"""Bundles of results: packed, opened, verified, scored again."""
