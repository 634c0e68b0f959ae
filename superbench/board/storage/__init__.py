"""Where a board keeps its bundles: a folder or a database, with tokens, submissions and rulings."""
