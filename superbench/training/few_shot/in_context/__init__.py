"""In-context evaluation: examples stand in the prompt of a model that can continue, and the likeliest label wins."""
