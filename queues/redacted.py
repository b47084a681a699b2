"""Addresses of servers, fit to be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def without_password(url: str) -> str:
    """The URL with ``***`` in place of its password, whether that stands before the host or in the query."""
    parts = urlsplit(url)
    place = parts.netloc
    if "@" in place:
        user, _, host = place.rpartition("@")
        name, colon, _ = user.partition(":")
        place = f"{name}{colon}{'***' if colon else ''}@{host}"
    query = [(key, "***" if "password" in key.lower() else value) for key, value in parse_qsl(parts.query)]
    return urlunsplit(parts._replace(netloc=place, query=urlencode(query, safe="*/")))
