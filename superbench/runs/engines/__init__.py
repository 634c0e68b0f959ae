"""Engines: how the jobs of a run reach workers, on this machine or on many."""
