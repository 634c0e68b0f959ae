"""Features: their extraction from sound, and the store that keeps them."""
