"""The service's own errors.py."""


class NoSuchOrderError(Exception):
    """There is not an order of this number."""
