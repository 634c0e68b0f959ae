"""The leaderboard: bundles, scoring them again, storage, the page and the server."""
