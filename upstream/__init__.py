"""Built-in upstreams: one file is one model, or one adapter to a hub."""
