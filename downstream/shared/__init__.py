"""Readers, heads, metrics and synthesis that two or more tasks use."""
