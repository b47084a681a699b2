"""Addresses of servers without their passwords, fit to be shown and logged."""

from __future__ import annotations

import re

# psycopg and others also take `sslpassword`, `oauth_client_secret`, … In a URL a value ends at the next parameter, in
# `key=value` words at the next blank, unless it is quoted.
_SECRET_IN_QUERY = re.compile(r"((?:password|secret)\s*=\s*)[^&]*", re.IGNORECASE)
_SECRET_IN_WORDS = re.compile(r"((?:password|secret)\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|\S*)", re.IGNORECASE)
_LOGIN_IN_TEXT = re.compile(r"://[^/\s@]{0,500}@")


def is_misread(url: str) -> bool:
    """Whether a bare ``/``, ``?`` or ``#`` cuts the URL short: a part of the password would be taken for its host."""
    _, _, rest = url.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return "@" in rest[len(place) :]


def without_password(url: str) -> str:
    """The URL with ``***`` in place of its password, whether that stands before the host or in the query.

    libpq's ``key=value`` words are taken too. It reads no more of the URL than it must, so that one with mistakes in it
    (a password with a bare ``/`` or ``@``) gives nothing away either.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    credentials, at, place = rest.rpartition("@")
    name, colon, _ = credentials.partition(":")
    secret = ":***" if colon else ""
    secrets = _SECRET_IN_QUERY if separator else _SECRET_IN_WORDS
    return secrets.sub(r"\1***", f"{scheme}{separator}{name}{secret}{at}{place}")


def without_logins(text: str) -> str:
    """A library's text with ``[login]`` in place of the user and password of each URL that it quotes."""
    return _LOGIN_IN_TEXT.sub("://[login]@", text)
