"""A client of a Redis or Valkey server, with the time-outs that everybody here wants."""

from __future__ import annotations

from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from errors import ConfigurationError
from queues.redacted import without_password

#: Longest time that an ordinary command waits for its answer, s.
ANSWER_WITHIN_S: Final = 2.0


def client(url: str, *, answer_within_s: float = ANSWER_WITHIN_S, setting: str = "HEADRACE_BROKER_URL") -> redis.Redis:
    """Describe a client; it connects at first use.

    :param url: ``redis://``, ``rediss://`` or ``unix://``.
    :param setting: where the URL is from, for the error.
    :raises ConfigurationError: the URL cannot be read.
    """
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_connect_timeout=ANSWER_WITHIN_S,
            socket_timeout=answer_within_s,
            # Once more at once, for connections that died of age; whoever waits longer does it in its own way.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
    except ValueError:
        # Without the cause: it quotes the URL's parts, and where they are mistaken for each other, the password.
        raise ConfigurationError(
            "the URL cannot be read",
            field=setting,
            value=without_password(url),
            hint="Special characters in a password have to be percent-encoded.",
        ) from None
