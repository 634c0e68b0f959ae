"""Upstreams × tasks -> results: options, jobs, workers, forecasts."""
