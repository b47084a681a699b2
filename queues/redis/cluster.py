"""A client of a Redis or Valkey Cluster that behaves like one of a single server.

redis-py's own client is wrapped for three reasons: it connects when it is made, it asks a silent server again and
again, and some of its exceptions are not a ``RedisError``.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import SSLConnection, parse_url
from redis.exceptions import ClusterDownError, NoScriptError, RedisClusterException, SlotNotCoveredError
from redis.retry import Retry

import forks

#: URL scheme of a cluster → the scheme of one of its nodes.
CLUSTER_SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}


class _Cluster(RedisCluster):
    #: Errors after which a command is sent once more: another look at the cluster can cure them. Not after silence,
    #: which would cost its caller the time limit twice.
    ERRORS_ALLOW_RETRY = (redis.ConnectionError, ClusterDownError, SlotNotCoveredError)  # type: ignore[assignment]

    def determine_slot(self, *args: Any) -> int:
        """The node of a command's keys: ours are all of one slot. redis-py would ask a node, which may be away."""
        first_key = args[3] if args[0] in ("EVAL", "EVALSHA") else args[1]
        return self.keyslot(first_key)  # type: ignore[no-untyped-call,no-any-return]


class Cluster:
    """Every master of a cluster behind one client. Thread-safe; connects at first use, and finds where a key lives.

    It has the few commands that are in use, by redis-py's names. Every exception that it raises is a
    ``redis.RedisError``.
    """

    def __init__(self, url: str, **options: Any) -> None:
        """Describe the cluster.

        :param url: ``redis+cluster://`` or ``rediss+cluster://`` with one node or several, ``host:port,host:port``:
            those that are asked first where the others are.
        :param options: of every connection.
        :raises ValueError: the URL cannot be read.
        """
        self._nodes, found = _read(url)
        self._options = options | found
        self._connecting = threading.Lock()
        self._cluster: RedisCluster | None = None
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        """Drop the parent's connections; see :mod:`forks`."""
        self._connecting = threading.Lock()
        if self._cluster is not None:
            forks.abandon(self._cluster)
            self._cluster = None

    def register_script(self, script: str | bytes) -> Script:
        """A script that every master learns when it first needs it: redis-py's would need all of them to be up."""
        return Script(self, script)

    def hgetall(self, name: str) -> Mapping[str, str]:
        """All of a hash."""
        return cast("Mapping[str, str]", self.command("HGETALL", name))

    def blpop(self, keys: Sequence[str], timeout: float) -> Sequence[str] | None:
        """Wait at most ``timeout`` s for the first entry of one of these lists, which lie on one master."""
        return cast("Sequence[str] | None", self.command("BLPOP", *keys, timeout))

    def command(self, *args: Any) -> Any:
        """Send a command to the master of its keys, following where the cluster says they moved."""
        with _plainly():
            return self._connected().execute_command(*args)  # type: ignore[no-untyped-call]

    def node_of(self, key: str) -> redis.Redis:
        """A client of the one server that has this key now."""
        with _plainly():
            cluster = self._connected()
            node = cluster.get_node_from_key(key)  # type: ignore[no-untyped-call]
            if node is None:
                raise redis.ConnectionError("no node of the cluster has the key")
            return cluster.get_redis_connection(node)

    def masters(self) -> int:
        """How many masters the cluster has, as far as is known."""
        with _plainly():
            return len(self._connected().get_primaries())  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the connections."""
        with self._connecting:
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def _connected(self) -> RedisCluster:
        with self._connecting:
            if self._cluster is None:
                nodes = [ClusterNode(host, port) for host, port in self._nodes]  # type: ignore[no-untyped-call]
                # A master that is away must not keep us from the others.
                self._cluster = _Cluster(
                    startup_nodes=nodes, require_full_coverage=False, retry=Retry(NoBackoff(), 1), **self._options
                )
            return self._cluster


class Script:
    """A Lua script; call it with its keys, which lie on one master, and its arguments."""

    def __init__(self, cluster: Cluster, text: str | bytes) -> None:
        self._cluster = cluster
        self._text = text
        whole = text.encode() if isinstance(text, str) else text
        self._sha = hashlib.sha1(whole).hexdigest()  # noqa: S324 (the server's name for it; guards nothing)

    def __call__(self, keys: Sequence[Any] = (), args: Iterable[Any] = ()) -> Any:
        rest = [len(keys), *keys, *args]
        try:
            return self._cluster.command("EVALSHA", self._sha, *rest)
        except NoScriptError:
            return self._cluster.command("EVAL", self._text, *rest)


def _read(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    scheme, _, rest = url.partition("://")
    ends = min((at for at in (rest.find(mark) for mark in "/?#") if at >= 0), default=len(rest))
    credentials, at, places = rest[:ends].rpartition("@")
    nodes: list[tuple[str, int]] = []
    options: dict[str, Any] = {}
    for place in places.split(","):
        options = dict(parse_url(f"{CLUSTER_SCHEMES[scheme]}://{credentials}{at}{place}{rest[ends:]}"))  # type: ignore[no-untyped-call]
        nodes.append((options.pop("host", "localhost"), options.pop("port", 6379)))
    if options.pop("db", 0):
        raise ValueError("a cluster has one database, 0")
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return nodes, options


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn the errors that only a cluster has into those of a single server's client."""
    try:
        yield
    except RedisClusterException as error:
        silent = isinstance(error.__cause__, redis.TimeoutError)
        raise (redis.TimeoutError if silent else redis.ConnectionError)(str(error)) from error
