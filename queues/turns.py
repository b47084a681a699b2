"""A turn, and the wire that carries turns.

A turn says "tenant T has work in lane L" and nothing more. The jobs themselves wait in Postgres; the process that takes
T's turn claims T's next job there. So a wire may lose, repeat or forget turns: a lost one is offered again by the
sweep, a superfluous one claims nothing.

*Work units*: the weight of one job in its tenant's share, tokens / the tenant's weight. The wire only ever sees work
units, so a changed weight acts at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

#: Version of a turn's content; travels with every turn, so that releases can tell each other's apart.
TURN_VERSION = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn that was taken off the wire: it belongs to the taker alone.

    ``charge`` is the tenant's charge for it in advance, in work units. ``receipt`` is the wire's own, for its
    :meth:`Wire.done` and :meth:`Wire.hand_back`.
    """

    tenant: str
    lane: str
    charge: float
    receipt: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WireFacts:
    """The server behind a wire, for its operators. ``url`` is safe to show."""

    url: str
    server: str  # its name and version
    eviction: str | None  # what it evicts when its memory is full; None: nothing, ever
    round_trip_s: float  # the shortest of some


def within_cap(new: int, queued: int, cap: int) -> int:
    """How many turns to offer for ``new`` queued jobs, on a wire that does not count: as many as stay within the cap.

    :param queued: jobs of the tenant that are queued now, the new ones among them; counted up to ``cap + new``.
    """
    before = max(0, queued - new)
    return max(0, min(new, cap - before))


#: Most jobs of a light tenant, queued or running, in a lane.
FEW_JOBS: Final = 4


def is_light(queued: int, running: int) -> bool:
    """Whether a tenant with that many jobs may go before those with many, on a wire that serves in order.

    Running jobs count too: so a tenant that offers job after job, one at a time, gets only a few slots by it.
    """
    return queued + running <= FEW_JOBS


class Wire(Protocol):
    """Carries turns between processes and decides which tenant is next.

    Every method may raise :class:`errors.ServiceError` (the server does not answer) and, where it is handed a lane,
    :class:`errors.UnknownLaneError`. None is fenced or exactly-once, and none has to be.
    """

    @property
    def counts(self) -> bool:
        """Whether it knows how many turns each tenant has, and so holds a tenant to its cap by itself.

        To a wire that does not, turns are offered only while Postgres has few jobs queued.
        """
        ...

    @property
    def turns_per_tenant(self) -> int:
        """A tenant's cap: most turns that it has outstanding in a lane."""
        ...

    @property
    def lanes(self) -> Mapping[str, int]:
        """The lanes and their weights."""
        ...

    def offer(self, lane: str, tenant: str, n: int = 1, *, light: bool = False) -> int:
        """Add up to ``n`` turns. Returns how many were added.

        A wire that :attr:`counts` never lets a tenant have more than its cap outstanding. One that does not is told
        whether the tenant :func:`is_light`.
        """
        ...

    def offer_many(self, lane: str, turns: Mapping[str, int], light: Collection[str] = ()) -> int:
        """Add turns for many tenants (tenant → how many), some of them light. Returns how many were added in all."""
        ...

    def refill(self, lane: str, turns: Mapping[str, int], starving: Collection[str] = ()) -> int:
        """Raise each tenant's outstanding turns to at least the given number (or the cap). Returns how many were added.

        For the sweep: it may be repeated without piling turns up. ``turns`` names every tenant with queued work. A wire
        that does not count them fills queues without any turn, and is told the ``starving`` tenants: those that have
        queued work and none running.
        """
        ...

    def hold_at_most(self, turns: int) -> None:
        """Tell the wire how many turns this process has slots for; 0 when it drains: turns that came ahead of a take go
        back.
        """
        ...

    def take(self, lane: str, n: int) -> list[Turn]:
        """Take up to ``n`` turns, the most deserving tenant's first. Fewer than ``n``: the lane had no more.

        The taker owns them, and reports each one's end by :meth:`done`.
        """
        ...

    def done(self, turn: Turn) -> None:
        """The slot of a turn is free again. Raises nothing when the server is away: the turn may then come again.

        Returns at once, whatever the server does.
        """
        ...

    def hand_back(self, turn: Turn) -> None:
        """Put back a turn that was never started, as if it had not been taken."""
        ...

    def correct(self, lane: str, tenant: str, delta: float, observed: float | None = None) -> None:
        """Charge a tenant ``delta`` work units more (or less) than it has been charged so far.

        At claim: the job's estimate − the turn's charge; at settle: actual − estimate. ``observed`` is the whole cost
        of one job in work units; it moves the running average that later turns of the tenant are charged. It means
        nothing to a wire that does not serve tenants by their cost.
        """
        ...

    def refund(self, turn: Turn) -> None:
        """Give back the charge of a turn that claimed nothing, except for a small fixed price of the claim."""
        ...

    def outstanding(self, lane: str) -> Mapping[str, int]:
        """How many turns each tenant has on the wire now; for checks, not for work."""
        ...

    def wait_for_news(self, lanes: Iterable[str], timeout_s: float) -> bool:
        """Block until there may be turns in one of ``lanes`` (or :meth:`wake`), at most ``timeout_s``.

        Returns whether there was news. News without a waiting consumer is kept, so "take, then wait" misses nothing.
        """
        ...

    def wake(self) -> None:
        """Let this wire's own :meth:`wait_for_news` return at once."""
        ...

    def facts(self) -> WireFacts:
        """Ask the server for its facts: the way to find out whether it answers."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
