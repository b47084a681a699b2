"""The wire on Redis or Valkey: weighted start-time fair queueing in Lua.

Each operation is one script (the ``.lua`` files beside this one), so each is atomic, and none relies on what an earlier
one left behind: wipe the server between any two, and the next simply find nothing queued.

Tags and the virtual time are doubles that grow with the work done. Whole work units stay exact up to 2**53: a million
tokens a second for 285 years.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import redis

import forks
from errors import InvalidInputError, RedisUnavailableError, UnknownLaneError
from queues.cooldown import Cooldown
from queues.redis.client import ANSWER_WITHIN_S, WIRE_SETTING, client
from queues.redis.cluster import Cluster
from queues.turns import Turn, WireFacts
from reachability import why_unreached
from redaction import without_password

#: The charge of a turn of a tenant whose jobs were never measured, work units.
DEFAULT_CHARGE: Final = 1000.0
#: The least charge of a turn, work units. With 0, a tenant could stay first for ever.
LEAST_CHARGE: Final = 1.0
#: The remaining charge of a turn that claimed nothing, work units: it cost a claim all the same.
EMPTY_CLAIM_CHARGE: Final = 10.0
#: Weight of one job in its tenant's running average cost.
SMOOTHING: Final = 1 / 8
#: How far the virtual time runs past an idle tenant's tag before it is forgotten, work units. Only a correction larger
#: than this can cost a tenant anything that comes when its tag is long passed.
KEEP: Final = float(2**20)
#: How many of its average jobs a tenant may be owed when a refund comes after others went ahead. Enough for estimates
#: ten times too high on 160 slots; without a bound, a job of an absurd estimate would save up a head start.
MOST_OWED: Final = 16.0
#: The largest correction or cost that is believed, work units; a larger one is an error that would shut a tenant out
#: for good.
MOST_COST: Final = float(2**32)
#: The number of tenants' average costs that are kept for each lane; beyond it those of long-gone tenants are forgotten.
MOST_KNOWN: Final = 10_000
#: Most turns of one script call, whose work grows with the square.
TURNS_A_CALL: Final = 100
#: Most tenants of one script call, so that no call holds the server up for more than a few milliseconds.
TENANTS_A_CALL: Final = 500
#: Most wake-ups kept for consumers that do not listen yet.
MOST_NEWS: Final = 16
#: Longest time that one `wait_for_news` blocks, s.
LONGEST_WAIT_S: Final = 1.0

#: Everything in one hash slot, and so on one master of a cluster: a script may name all keys of a lane, and a consumer
#: blocks on the news of all lanes.
PREFIX: Final = "{headrace}"

_NO_LOSS: Final = "No job is lost meanwhile."
_OF_A_CLUSTER: Final = "Begin {setting} with redis+cluster:// (or rediss+cluster://)."
_WAKE_KEPT_S: Final = 5
_ROUND_TRIPS: Final = 5


class RedisWire:
    """Turns on a Redis or Valkey server, or on one master of a cluster. Thread-safe; connects at first use."""

    #: See :class:`queues.turns.Wire`.
    counts: Final = True

    def __init__(
        self, url: str, *, lanes: Mapping[str, int], turns_per_tenant: int = 64, setting: str = WIRE_SETTING
    ) -> None:
        """Describe the wire.

        :param url: ``redis://``, ``rediss://`` or ``unix://``; ``redis+cluster://`` or ``rediss+cluster://``.
        :param lanes: lane → weight.
        :param turns_per_tenant: most turns that a tenant has outstanding in a lane.
        :param setting: where the URL is from, for the errors.
        :raises ConfigurationError: the URL cannot be read.
        """
        self._setting = setting
        self._lanes = dict(lanes)
        self._turns_per_tenant = turns_per_tenant
        self._shown = without_password(url)
        self._client = client(url, setting=setting)
        # A connection of its own, since it blocks.
        self._listener = client(url, answer_within_s=LONGEST_WAIT_S + ANSWER_WITHIN_S, setting=setting)
        self._cooldown = Cooldown()
        self._wake_key = _new_wake_key()
        forks.renew_in_child(self)
        self._offer = self._script("offer")
        self._take = self._script("take")
        self._correct = self._script("correct")
        self._wake = self._script("wake")

    def renew_in_child(self) -> None:
        """A child is woken by itself; its clients are renewed like this wire. See :mod:`forks`."""
        self._wake_key = _new_wake_key()

    @property
    def turns_per_tenant(self) -> int:
        """A tenant's cap."""
        return self._turns_per_tenant

    @property
    def lanes(self) -> Mapping[str, int]:
        """The lanes and their weights."""
        return self._lanes

    def offer(self, lane: str, tenant: str, n: int = 1, *, light: bool = False) -> int:
        """Add up to ``n`` turns of one tenant; see :class:`queues.turns.Wire`."""
        return self.offer_many(lane, {tenant: n})

    def offer_many(self, lane: str, turns: Mapping[str, int], light: Collection[str] = ()) -> int:
        """Add turns of many tenants; see :class:`queues.turns.Wire`. Tags show which tenants are light, so the caller
        need not say it.
        """
        return self._give("more", lane, turns)

    def refill(self, lane: str, turns: Mapping[str, int], starving: Collection[str] = ()) -> int:
        """Raise outstanding turns to at least the given numbers; see :class:`queues.turns.Wire`."""
        return self._give("level", lane, turns)

    def hold_at_most(self, turns: int) -> None:
        """Nothing: turns leave the server only when they are taken."""

    def take(self, lane: str, n: int) -> list[Turn]:
        """Take up to ``n`` turns; see :class:`queues.turns.Wire`."""
        keys = self._keys(lane, "active", "turns", "idle", "clock", "costs", "news")
        for other in self._lanes:
            if other != lane:
                keys += self._keys(other, "active", "news")
        turns: list[Turn] = []
        while len(turns) < n:
            some = min(n - len(turns), TURNS_A_CALL)
            with self._translated():
                taken = self._take(keys, [some, DEFAULT_CHARGE, LEAST_CHARGE, KEEP])
            turns += (Turn(tenant, lane, float(charge)) for tenant, charge in zip(taken[::2], taken[1::2], strict=True))
            if len(taken) < 2 * some:
                break
        return turns

    def done(self, turn: Turn) -> None:
        """Nothing: taking a turn has removed it."""

    def hand_back(self, turn: Turn) -> None:
        """Offer the turn again, refunded; see :class:`queues.turns.Wire`."""
        self.refund(turn)
        self.offer(turn.lane, turn.tenant)

    def correct(self, lane: str, tenant: str, delta: float, observed: float | None = None) -> None:
        """Correct a tenant's charge, and learn; see :class:`queues.turns.Wire`.

        :raises InvalidInputError: ``delta`` or ``observed`` is not a finite number.
        """
        keys = self._keys(lane, "active", "idle", "clock", "costs")
        cost = "" if observed is None else _believed("observed", observed)
        args = [tenant, _believed("delta", delta), cost, LEAST_CHARGE, SMOOTHING, KEEP, MOST_OWED, MOST_KNOWN]
        with self._translated():
            self._correct(keys, args)

    def refund(self, turn: Turn) -> None:
        """Give back a turn's charge, except for :data:`EMPTY_CLAIM_CHARGE`; see :class:`queues.turns.Wire`."""
        if turn.charge > EMPTY_CLAIM_CHARGE:
            self.correct(turn.lane, turn.tenant, EMPTY_CLAIM_CHARGE - turn.charge)

    def outstanding(self, lane: str) -> Mapping[str, int]:
        """How many turns each tenant has; see :class:`queues.turns.Wire`."""
        with self._translated():
            counts = self._client.hgetall(self._keys(lane, "turns")[0])
        return {str(tenant): int(turns) for tenant, turns in counts.items()}

    def wait_for_news(self, lanes: Iterable[str], timeout_s: float) -> bool:
        """Block until there is news, at most :data:`LONGEST_WAIT_S`; see :class:`queues.turns.Wire`."""
        keys = [self._wake_key, *(self._keys(lane, "news")[0] for lane in lanes)]
        # 0 would mean for ever.
        timeout_s = min(max(timeout_s, 0.001), LONGEST_WAIT_S)
        with self._translated():
            return self._listener.blpop(keys, timeout=timeout_s) is not None

    def wake(self) -> None:
        """Let this wire's own :meth:`wait_for_news` return at once; see :class:`queues.turns.Wire`."""
        with self._translated():
            self._wake([self._wake_key], [_WAKE_KEPT_S])

    def facts(self) -> WireFacts:
        """Ask the server for its facts; see :class:`queues.turns.Wire`."""
        trips = []
        with self._translated():
            server, among = self._client, ""
            if isinstance(server, Cluster):
                among = f", one of {server.masters()} masters of a cluster"
                server = server.node_of(PREFIX)
            for _ in range(_ROUND_TRIPS):
                started = time.monotonic()
                server.ping()
                trips.append(time.monotonic() - started)
            try:
                info: dict[str, Any] = server.info()  # has all facts; CONFIG is forbidden on many servers
            except redis.ResponseError:  # so may this be, and no turn needs it
                info = {}
        name = str(info.get("server_name", "redis")).capitalize()
        version = info.get("valkey_version") or info.get("redis_version") or "of unknown version"
        eviction = str(info.get("maxmemory_policy", "unknown"))
        return WireFacts(self._shown, f"{name} {version}{among}", eviction, min(trips))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._listener.close()

    def _give(self, aim: Literal["more", "level"], lane: str, turns: Mapping[str, int]) -> int:
        keys = self._keys(lane, "active", "turns", "idle", "clock", "news")
        pairs: list[str | int] = [part for pair in turns.items() for part in pair]
        added = 0
        with self._translated():
            for start in range(0, len(pairs), 2 * TENANTS_A_CALL):
                some = pairs[start : start + 2 * TENANTS_A_CALL]
                added += int(self._offer(keys, [self._turns_per_tenant, MOST_NEWS, aim, *some]))
        return added

    def _keys(self, lane: str, *names: str) -> list[str]:
        if lane not in self._lanes:
            raise UnknownLaneError(field="lane", value=lane, hint=f"Lanes: {', '.join(self._lanes)}.")
        return [f"{PREFIX}:{lane}:{name}" for name in names]

    def _script(self, name: str) -> _Script:
        text = Path(__file__).with_name(f"{name}.lua").read_text(encoding="utf-8")
        # Sends the text again when the server has forgotten it (a restart, SCRIPT FLUSH).
        return self._client.register_script(text)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with self._cooldown.permission() as worth_asking:
            if not worth_asking:
                raise self._unavailable("it was silent a moment ago")
            try:
                yield
            except redis.RedisError as error:
                if isinstance(error, redis.TimeoutError):
                    self._cooldown.begin()
                if isinstance(error, redis.exceptions.MovedError):
                    raise self._unavailable(
                        "it is a node of a cluster", hint=_OF_A_CLUSTER.format(setting=self._setting)
                    ) from error
                raise self._unavailable(str(error)) from error

    def _unavailable(self, said: str, *, hint: str | None = None) -> RedisUnavailableError:
        why = why_unreached(said)
        return RedisUnavailableError(
            f"Redis at {self._shown} {why.phrase}: {said}",
            hint=hint or f"{why.hint_for(self._setting)} {_NO_LOSS}",
            url=self._shown,
            reason=why.reason,
            setting=self._setting,
        )


#: The result of redis-py for a script: call it with keys and arguments. Its own type knows nothing of the result.
_Script = Any


def _believed(field: str, work: float) -> float:
    if not math.isfinite(work):
        raise InvalidInputError("must be a finite number of work units", field=field, value=work)
    return min(max(work, -MOST_COST), MOST_COST)


def _new_wake_key() -> str:
    return f"{PREFIX}:wake:{uuid.uuid4().hex}"
