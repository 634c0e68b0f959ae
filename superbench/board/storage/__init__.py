"""Storage of a board in a folder or a database: bundles, tokens, submissions and rulings."""
