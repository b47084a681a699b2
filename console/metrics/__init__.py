"""Metrics for Prometheus: the catalogue, the text format, the server."""
