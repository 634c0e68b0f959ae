"""Two results beside each other: what differs in how they were made, and by how much they differ."""
