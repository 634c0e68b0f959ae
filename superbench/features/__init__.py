"""Sound to features, and their store."""
