"""Built-in downstream tasks: one file is one task."""
