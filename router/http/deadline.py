"""A total deadline for a call, which a server that drips bytes cannot outlive, and a limit on the size of answers.

The SDKs' timeouts apply to each read, so a server that sends one byte a second keeps a call alive for ever. Here the
network itself knows the deadline: every connect, handshake, read and write gets the remaining time as its timeout. No
thread is spent on watching, and the call ends inside the very system call that waits.

Two waits cannot be bounded here: the resolver's (``getaddrinfo`` takes no timeout; resolv.conf bounds it) and the few
microseconds of computing between reads.
"""

from __future__ import annotations

import importlib.util
import itertools
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

from errors import ConfigurationError
from router.providers.connections import KeptConnectionsClosedError
from router.providers.whole import AnswerLimits, metered, read_whole, taken_off_the_wire

_CONNECT_TIMEOUT_S = 5.0
# Common servers close an idle connection after 5 s (uvicorn, Node) or more. Below that, few calls meet one that closes.
_KEEPALIVE_S = 4.0
# A server that closes an idle connection as a request comes does so at once; a server that works on it takes longer.
_STALE_WITHIN_S = 1.0
# The most times that a request is sent. A kept connection that the server had closed is rare; two in a row are rarer.
_SENT_AT_MOST = 2
# A pool walks all its connections under one lock at each call. With 400 calls in flight a call costs 1.3 ms of CPU
# with one pool, 0.7 with 16, and no less with 64.
_POOLS = 16
# A write of the standard backend may take its timeout once for each piece the kernel accepts; small pieces keep the
# sum within the deadline.
_WRITE_PIECE = 16 * 1024
_OPENS_A_TUNNEL = b"CONNECT "

# The ways in which a connection ends that the server had closed when a request comes.
_CLOSED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)

# A proxy for this machine itself never makes sense, though few environments exclude it.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SOCKS = frozenset({"socks5", "socks5h"})  # only with the package socksio, which is not a dependency
_PROXY_HINT = "Write http://host:port or https://host:port, or unset it."


@dataclass(slots=True)
class CallOnTheWire:
    """The network's facts about one call: when it has to end, and whether any of its bytes has left this machine.

    ``reused``: they left on a connection that had served another call before. ``sent_at``: when the first byte did.
    ``place``: host and port of the server, or of the proxy, to which the last connection leads.
    """

    ends_at: float
    sent: bool = False
    sent_at: float = 0.0
    reused: bool = False
    answered: bool = False  # a byte of an answer came
    place: str = ""

    def met_a_closed_connection(self) -> bool:
        """Whether the call, which has just failed, met a kept connection that the server had closed.

        No byte of an answer came, and it failed at once: the request was not worked on.
        """
        return self.reused and not self.answered and time.monotonic() - self.sent_at < _STALE_WITHIN_S

    def forget(self) -> None:
        """No byte was sent."""
        self.sent = self.reused = False


_this_call: ContextVar[CallOnTheWire | None] = ContextVar("call_on_the_wire", default=None)


@contextmanager
def deadline(timeout_s: float) -> Iterator[CallOnTheWire]:
    """Every wait of this thread on a :class:`DeadlineTransport` in this block ends within ``timeout_s`` seconds.

    A wait that is cut off raises ``httpx2``'s timeout of its kind (connect, read, write).
    """
    call = CallOnTheWire(time.monotonic() + timeout_s)
    token = _this_call.set(call)
    try:
        yield call
    finally:
        _this_call.reset(token)


def http_client(base_url: str, limits: AnswerLimits | None = None) -> httpx2.Client:
    """The HTTP client of one provider, for all threads of the process.

    The number of connections has no limit of its own: one a thread is all that can be in use, and waiting for a free
    one would only look like a slow provider. Redirects are not followed, so that a key is sent to no other server.
    Proxies are taken from the usual environment variables (``HTTPS_PROXY``, ``NO_PROXY``, …) as they are now:
    ``httpx2`` reads them only when it builds the transport itself.

    :raises ConfigurationError: the proxy that is set cannot be used; every call would fail.
    """
    transport = DeadlineTransport(proxy=_proxy_for(base_url), limits=limits)
    return httpx2.Client(transport=transport, timeout=None, headers={"Accept-Encoding": "gzip"})


def timeouts(timeout_s: float) -> httpx2.Timeout:
    """The timeouts of single waits in a call of ``timeout_s`` seconds: an address that does not answer gets 5 s."""
    return httpx2.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s))


class DeadlineTransport(httpx2.BaseTransport):
    """HTTP over connections that obey :func:`deadline`, spread over several pools by thread.

    A response is read to its end here, under its limits; nothing is streamed.
    """

    def __init__(self, proxy: str | None = None, limits: AnswerLimits | None = None) -> None:
        self._limits = limits or AnswerLimits()
        ssl_context = httpx2.create_ssl_context()
        self._transports = [_PoolTransport(ssl_context, proxy) for _ in range(_POOLS)]
        self._turn = itertools.count()
        self._mine = threading.local()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request on the pool of this thread."""
        transport: httpx2.BaseTransport | None = getattr(self._mine, "transport", None)
        if transport is None:
            transport = self._mine.transport = self._transports[next(self._turn) % _POOLS]
        for _ in range(_SENT_AT_MOST):
            with metered() as meter:
                try:
                    return read_whole(transport.handle_request(request), meter, self._limits)
                except _CLOSED:
                    call = _this_call.get()
                    if call is None or not call.met_a_closed_connection():
                        raise
                    call.forget()
        raise KeptConnectionsClosedError("the server had closed each kept connection")

    def close(self) -> None:
        """Close every connection."""
        for transport in self._transports:
            transport.close()


class _PoolTransport(httpx2.HTTPTransport):
    def __init__(self, ssl_context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(verify=ssl_context)
        # `HTTPTransport` cannot be told over which network to build its pool; the pool itself takes one. So the pool is
        # replaced before its first use. A test fails if the attribute has another name one day.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            proxy=_proxy(proxy),
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=_DeadlineBackend(),
        )


class _DeadlineBackend(httpcore2.NetworkBackend):
    """The standard network, with the deadline on every wait."""

    def __init__(self) -> None:
        self._network = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        # Address by address here: the standard backend would grant the whole timeout to each of them.
        options = list(socket_options or [])
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        _now_at(place)
        failure: Exception = httpcore2.ConnectError(f"no address for {host}")
        for address in _addresses(host, port):
            left = _left(timeout, httpcore2.ConnectTimeout)
            try:
                return _DeadlineStream(self._network.connect_tcp(address, port, left, local_address, options), place)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _DeadlineStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, place: str) -> None:
        self._stream = stream
        self._place = place
        self._served: CallOnTheWire | None = None  # the call that it served last

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))
        taken_off_the_wire(len(data))
        call = _this_call.get()
        if call is not None and data:
            call.answered = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        _now_at(self._place)
        for start in range(0, len(buffer), _WRITE_PIECE):
            piece = buffer[start : start + _WRITE_PIECE]
            left = _left(timeout, httpcore2.WriteTimeout)
            call = _this_call.get()
            # The request that opens a tunnel goes to the proxy alone. A failed write may have arrived in part.
            if call is not None and not piece.startswith(_OPENS_A_TUNNEL):
                if not call.sent:
                    call.sent_at = time.monotonic()
                    call.reused = self._served is not None and self._served is not call
                call.sent = True
                self._served = call
            self._stream.write(piece, left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        place = self._place
        if server_hostname and self._place.rpartition(":")[0].strip("[]") != server_hostname:
            place = f"{server_hostname} through {self._place}"  # a tunnel through a proxy
        _now_at(place)
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), place)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _now_at(place: str) -> None:
    call = _this_call.get()
    if call is not None:
        call.place = place


def _left(timeout: float | None, too_late: type[httpcore2.TimeoutException]) -> float | None:
    """The seconds that a wait may take: the lesser of its own timeout and the rest of the deadline."""
    call = _this_call.get()
    if call is None:
        return timeout
    left = call.ends_at - time.monotonic()
    if left <= 0:
        raise too_late("the call's deadline has passed")
    return left if timeout is None else min(timeout, left)


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _proxy_for(base_url: str) -> str | None:
    url = httpx2.URL(base_url)
    if url.host in _LOOPBACK or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    for scheme in (url.scheme, "all"):
        proxy = proxies.get(scheme)
        if proxy:
            return _usable(proxy if "://" in proxy else f"http://{proxy}", f"{scheme.upper()}_PROXY")
    return None


def _usable(proxy: str, setting: str) -> str:
    """The proxy's URL, if calls can go through it. Errors do not quote it: it may hold a password."""
    try:
        url = httpx2.URL(proxy)
        port = url.port
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigurationError("is not the URL of a proxy", field=setting, hint=_PROXY_HINT) from error
    if url.scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        raise ConfigurationError(
            "is a SOCKS proxy, which needs the package socksio", field=setting, value=url.scheme, hint=_PROXY_HINT
        )
    if url.scheme not in {"http", "https"} | _SOCKS:
        raise ConfigurationError("is not the URL of a proxy", field=setting, value=url.scheme, hint=_PROXY_HINT)
    if not url.host or "%" in url.host or not (port is None or 0 < port < 65_536):
        raise ConfigurationError("has no usable host or port", field=setting, hint=_PROXY_HINT)
    return proxy


def _proxy(url: str | None) -> httpcore2.Proxy | None:
    if url is None:
        return None
    proxy = httpx2.Proxy(url)
    place = httpcore2.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    return httpcore2.Proxy(place, auth=proxy.raw_auth)
