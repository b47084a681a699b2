"""A client of a Redis or Valkey server or cluster, with the time-outs that everybody here wants."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import forks
from errors import ConfigurationError
from queues.redacted import is_misread, without_password
from queues.redis.cluster import CLUSTER_SCHEMES, Cluster

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
        """Let go of the parent's connections; see :mod:`forks`."""
        forks.abandon(self.connection_pool)
        self.connection_pool = self._make_pool()


def client(
    url: str, *, answer_within_s: float = ANSWER_WITHIN_S, setting: str = "HEADRACE_BROKER_URL"
) -> redis.Redis | Cluster:
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
    # Without the cause: it quotes the URL's parts, and where they are mistaken for each other, the password.
    unreadable = ConfigurationError(
        "the URL cannot be read",
        field=setting,
        value=without_password(url),
        hint="Special characters in a password have to be percent-encoded. A cluster has one database, 0.",
    )
    if not url.startswith("unix:") and is_misread(url):
        raise unreadable
    try:
        if url.partition(":")[0] in CLUSTER_SCHEMES:
            return Cluster(url, **options)
        # Once more at once, for connections that died of age; whoever waits longer does it in its own way.
        again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        return Single(partial(redis.ConnectionPool.from_url, url, retry=again, **options))
    except ValueError:
        raise unreadable from None
