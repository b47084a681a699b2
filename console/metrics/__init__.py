"""Signals for Prometheus: what there is, how it is written, where it is served."""
