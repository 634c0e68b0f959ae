"""Checks an upstream against the contract, and measures its cost."""
