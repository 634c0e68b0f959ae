"""Bundles of results: packing, opening and verifying them, and scoring them again."""
