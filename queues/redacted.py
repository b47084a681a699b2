"""Addresses of servers, fit to be shown."""

from __future__ import annotations

import re

_PASSWORD_IN_QUERY = re.compile(r"(password=)[^&#]*", re.IGNORECASE)


def is_misread(url: str) -> bool:
    """Whether a bare ``/``, ``?`` or ``#`` cuts the URL short: a part of the password would be taken for its host."""
    _, _, rest = url.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return "@" in rest[len(place) :]


def without_password(url: str) -> str:
    """The URL with ``***`` in place of its password, whether that stands before the host or in the query.

    It reads no more of the URL than it must, so that one with mistakes in it (a password with a bare ``/`` or ``@``)
    gives nothing away either.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    credentials, at, place = rest.rpartition("@")
    name, colon, _ = credentials.partition(":")
    secret = ":***" if colon else ""
    return _PASSWORD_IN_QUERY.sub(r"\1***", f"{scheme}{separator}{name}{secret}{at}{place}")
