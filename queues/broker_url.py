"""The wire that a broker URL names."""

from __future__ import annotations

from collections.abc import Mapping

import redis

from errors import ConfigurationError
from queues.redis.client import WIRE_SETTING, client
from queues.redis.cluster import Cluster
from queues.redis.wire import RedisWire
from queues.turns import Wire
from redaction import without_password

#: URL scheme → the scheme by which the client library knows it.
REDIS_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+cluster": "redis+cluster",
    "rediss+cluster": "rediss+cluster",
    "valkey+cluster": "redis+cluster",
    "valkeys+cluster": "rediss+cluster",
}

RABBIT_SCHEMES = ("amqp", "amqps")


def redis_client(url: str) -> redis.Redis | Cluster:
    """A client of the Redis or Valkey (server or cluster) that HEADRACE_REDIS_URL names; small counts are kept there.

    :raises ConfigurationError: the URL cannot be read.
    """
    scheme, _, rest = url.partition(":")
    return client(f"{REDIS_SCHEMES.get(scheme.lower(), scheme)}:{rest}", setting="HEADRACE_REDIS_URL")


def open_wire(url: str, *, lanes: Mapping[str, int], turns_per_tenant: int = 64, setting: str = WIRE_SETTING) -> Wire:
    """The wire that ``url`` names. Nothing is connected yet: a missing server shows at first use.

    :param url: ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``; the first four with
        ``+cluster`` before the colon for a cluster; ``amqp://`` or ``amqps://``.
    :param lanes: lane → weight (1 or more).
    :param turns_per_tenant: most turns that a tenant has outstanding in a lane.
    :param setting: the setting of the URL, for the errors.
    :raises ConfigurationError: no wire has this scheme, or the URL cannot be read.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme.lower() in RABBIT_SCHEMES:
        # imported here, because users of Redis need not load another protocol
        from queues.rabbitmq.wire import RabbitWire

        return RabbitWire(f"{scheme.lower()}:{rest}", lanes=lanes, turns_per_tenant=turns_per_tenant, setting=setting)
    known = REDIS_SCHEMES.get(scheme.lower())
    if not colon or known is None:
        raise ConfigurationError(
            "unknown wire scheme",
            field=setting,
            value=without_password(url),
            hint=f"Use one of {', '.join(f'{name}://' for name in (*REDIS_SCHEMES, *RABBIT_SCHEMES))}",
        )
    return RedisWire(f"{known}:{rest}", lanes=lanes, turns_per_tenant=turns_per_tenant, setting=setting)
