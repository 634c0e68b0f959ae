"""The page of a board: what it shows, drawn as one HTML file."""
