"""What a turn costs its tenant on the wire, and the turns that follow from what happened to its job.

All of it is hints: when the wire does not answer, it is logged and the sweep repairs it within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from errors import ServiceError
from queues.turns import Turn, Wire
from storage.jobs import ClaimedJob

TURNED_AWAY_TOKENS = 100  # what a claim that leads to no answer costs its tenant: some ms of a worker, in tokens
log = structlog.get_logger("headrace.turns")


class TurnAccount:
    """Corrects charges and offers turns. Work units = tokens / the tenant's weight."""

    def __init__(self, wire: Wire, *, turns_per_tenant: int) -> None:
        self._wire = wire
        self.turns_per_tenant = turns_per_tenant

    def claimed_nothing(self, turn: Turn) -> None:
        """The turn found no job: its charge is given back, down to a small price."""
        _hint(lambda: self._wire.refund(turn))

    def claimed(self, turn: Turn, job: ClaimedJob) -> None:
        """The average is replaced by this job's estimate; a backlog beyond W gets the next turn offered."""
        _hint(lambda: self._wire.correct(turn.lane, turn.tenant, _units(job, job.estimated_tokens) - turn.charge))
        if job.more:
            _hint(lambda: self._wire.offer(turn.lane, turn.tenant))

    def let_in(self, offers: Sequence[tuple[UUID, str]]) -> None:
        """A slot was freed for each of these (tenant, lane): their turn, at once."""
        for tenant, lane in offers:
            if lane in self._wire.lanes:
                _hint(lambda lane=lane, tenant=tenant: self._wire.offer(lane, str(tenant)))  # type: ignore[misc]

    def settled(self, turn: Turn, job: ClaimedJob, tokens: int, *, queued: bool) -> None:
        """The estimate is replaced by what was used; a job that is queued again gets its turn offered.

        A job that was turned away has used no tokens, but a worker's time all the same: a tenant whose jobs are all
        turned away would else have every turn.
        """
        used = _units(job, max(tokens, min(job.estimated_tokens, TURNED_AWAY_TOKENS)))
        estimated = _units(job, job.estimated_tokens)
        _hint(lambda: self._wire.correct(turn.lane, turn.tenant, used - estimated, observed=used if tokens else None))
        if queued:
            _hint(lambda: self._wire.offer(turn.lane, turn.tenant))


def _units(job: ClaimedJob, tokens: int) -> float:
    return tokens / job.weight


def _hint(step: Callable[[], object]) -> None:
    try:
        step()
    except ServiceError as error:
        log.warning("turn.hint_lost", error=str(error))
