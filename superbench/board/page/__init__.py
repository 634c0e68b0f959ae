"""The page of a board: its data, and one HTML file that shows them."""
