"""The leaderboard: bundles, re-scoring, ranks, the page."""
