"""Examines an upstream: what holds of the contract, what the model costs."""
