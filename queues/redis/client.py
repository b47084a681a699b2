"""A client of a Redis or Valkey server or cluster, with our time-outs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import forks
from errors import ConfigurationError
from queues.redis.cluster import CLUSTER_SCHEMES, Cluster
from reachability import ENCODE
from redaction import is_misread, without_password

#: The setting of a wire's URL, if no other is named.
WIRE_SETTING: Final = "HEADRACE_BROKER_URL"
#: Longest time that an ordinary command waits for its answer, s.
ANSWER_WITHIN_S: Final = 2.0


class Single(redis.Redis):
    """A client of one server. Safe in a forked child."""

    def __init__(self, make_pool: Callable[[], redis.ConnectionPool]) -> None:
        super().__init__(connection_pool=make_pool())
        self.auto_close_connection_pool = True
        self._make_pool = make_pool
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        """Drop the parent's connections; see :mod:`forks`."""
        forks.abandon(self.connection_pool)
        self.connection_pool = self._make_pool()


def client(url: str, *, answer_within_s: float = ANSWER_WITHIN_S, setting: str = WIRE_SETTING) -> redis.Redis | Cluster:
    """Describe a client; it connects at first use.

    :param url: ``redis://``, ``rediss://`` or ``unix://``; ``redis+cluster://`` or ``rediss+cluster://``.
    :param setting: where the URL is from, for the error.
    :raises ConfigurationError: the URL cannot be read.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,
        "socket_connect_timeout": ANSWER_WITHIN_S,
        "socket_timeout": answer_within_s,
    }
    # Without the cause: it quotes the URL's parts and, if they are mistaken for each other, the password.
    unreadable = ConfigurationError(
        "the URL cannot be read",
        field=setting,
        value=without_password(url),
        hint=f"{ENCODE} A cluster has one database, 0.",
    )
    if not url.startswith("unix:") and is_misread(url):
        raise unreadable
    try:
        if url.partition(":")[0] in CLUSTER_SCHEMES:
            if _wrong_parameter(url) is not None:
                raise ValueError("a parameter of the URL")  # noqa: TRY301 (told below)
            return Cluster(url, **options)
        # One more try at once, for connections that died of age; a caller that waits longer does it in its own way.
        again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        make_pool = partial(redis.ConnectionPool.from_url, url, retry=again, **options)
        make_pool().make_connection()  # it is not connected: a parameter that it does not take shows here
        return Single(make_pool)
    except (ValueError, TypeError, redis.RedisError):
        part = _wrong_parameter(url)
        if part is None:
            raise unreadable from None
        raise ConfigurationError(
            f"has a parameter that cannot be used with this scheme: {part}",
            field=setting,
            value=without_password(url),
            hint="Those that begin with ssl_ need rediss://; `ssl_cert_reqs` is none, optional or required.",
        ) from None


def _wrong_parameter(url: str) -> str | None:
    """The name of the first parameter of the URL that redis-py does not take, each tried by itself."""
    scheme, _, query = url.partition(":")[0], *url.partition("?")[1:]
    plain = CLUSTER_SCHEMES.get(scheme, scheme)
    for name, value in parse_qsl(query, keep_blank_values=True):
        try:
            redis.ConnectionPool.from_url(f"{plain}://localhost?{urlencode({name: value})}").make_connection()
        except (ValueError, TypeError, redis.RedisError):
            return name if re.fullmatch(r"[a-z_]{1,40}", name) else None
    return None
