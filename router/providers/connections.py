"""Why a call got no connection or no whole answer, derived from the exceptions of the HTTP client and of the system."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx2

from router.providers.text import one_line

_DEEPEST: Final = 12
_QUOTED: Final = 100
# OpenSSL's numbers: the certificate is for another host name, or for another address.
_OTHER_HOST: Final = frozenset({62, 64})
_NO_SUCH_NAME: Final = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)
_UNREACHABLE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


class KeptConnectionsClosedError(httpx2.ConnectError):
    """The server had closed each kept connection, so the request was sent on none."""


def why_not_connected(cause: BaseException | None, place: str) -> str:
    """What kept a connection to ``place`` (host:port) from being made.

    ``cause`` is the HTTP client's exception. Its words are not used: they quote what a server sent.
    """
    place = one_line(place) or "the server"
    for error in _chain(cause):
        told = _told(error, place)
        if told is not None:
            return told
    return f"no connection to {place} ({type(cause).__name__})"


def why_it_broke(cause: BaseException | None, place: str) -> str:
    """How a connection ended after the request had been sent, whole or in part."""
    place = one_line(place) or "the server"
    if any(isinstance(error, ConnectionResetError | BrokenPipeError) for error in _chain(cause)):
        return f"{place} reset the connection before it had answered"
    if isinstance(cause, httpx2.RemoteProtocolError):
        words = str(cause).lower()
        if "disconnected" in words:
            return f"{place} closed the connection without an answer"
        if "closed connection" in words:
            return f"{place} closed the connection in the middle of its answer"
        return f"what {place} sent is not HTTP"
    return f"the connection to {place} broke ({type(cause).__name__})"


def _told(error: BaseException, place: str) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_HOST:
            return f"the certificate of {place} is for another host name"
        return f"the certificate of {place} cannot be trusted: {one_line(error.verify_message, _QUOTED)}"
    if isinstance(error, ssl.SSLError):
        reason = one_line(error.reason, _QUOTED).replace("_", " ").lower() or "it was cut off"
        return f"no TLS connection to {place} ({reason}): does it speak HTTPS there?"
    if isinstance(error, socket.gaierror):
        if error.errno in _NO_SUCH_NAME:
            return f"there is no such host: {place}"
        return f"the host name cannot be looked up now: {place}"
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refuses connections: does a server listen there?"
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return f"{place} cannot be reached from here: there is no route to it"
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy {place} does not connect us: {one_line(str(error), _QUOTED)}"
    if isinstance(error, KeptConnectionsClosedError):
        return f"{place} had closed each kept connection"
    if isinstance(error, httpx2.TimeoutException):
        return f"no connection to {place} in time"
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.WriteError | ConnectionError):
        return f"{place} closed the connection while it was being made"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The innermost exceptions first: the system's own says most."""
    found: list[BaseException] = []
    while error is not None and len(found) < _DEEPEST and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(found)
