"""The routing policy of a long-running process: read again when a feature is requested that it does not know.

`headrace migrate` publishes the features of a policy while workers run, and jobs may name them from then on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from errors import ConfigurationError
from router.policy import Policy

READ_EVERY_S: Final = 5.0
"""The shortest time between two reads of the file, however many jobs name a feature that it does not have."""

log = structlog.get_logger("headrace.policy")


class CurrentPolicy:
    """The policy as it was read last. Safe for many threads; a policy never changes, a new one replaces it."""

    def __init__(
        self, policy: Policy, read: Callable[[], Policy] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``read`` reads the file again (None: there is no file); ``clock`` is in seconds."""
        self._policy = policy
        self._read = read
        self._clock = clock
        self._read_at = -math.inf
        self._lock = threading.Lock()

    @property
    def now(self) -> Policy:
        """The policy that was read last."""
        return self._policy

    def knowing(self, feature: str) -> Policy:
        """The policy, read again if it does not know this feature and was not read a moment ago.

        Ask only for a published feature: a name that a caller can invent must not make a process read files. A file
        that cannot be read leaves the policy as it is. The feature may be missing all the same.
        """
        with self._lock:  # of many threads that ask at once, one reads and the others get its result
            if feature in self._policy.features or self._read is None or not self._may_read():
                return self._policy
            try:
                self._policy = self._read()
            except ConfigurationError as error:
                log.warning("policy.unreadable", **error.as_dict())
            else:
                log.info("policy.read_again", feature=feature, known=feature in self._policy.features)
            return self._policy

    def _may_read(self) -> bool:
        now = self._clock()
        if now - self._read_at < READ_EVERY_S:
            return False
        self._read_at = now
        return True
