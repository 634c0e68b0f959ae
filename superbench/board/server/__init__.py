"""The web server of a board: submission queue, scoring worker, API."""
