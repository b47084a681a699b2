"""The project's own errors.py."""


class OrderRefusedError(Exception):
    """The order cannot be taken; the message is for the customer."""
