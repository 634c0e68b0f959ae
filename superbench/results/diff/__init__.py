"""Compares two results: the differences in how they were made, and the differences of their scores."""
