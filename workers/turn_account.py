"""What a turn costs its tenant on the wire, and the turns that follow from what happened to its job.

All of it is hints: when the wire does not answer, it is logged and the sweep repairs it within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import structlog

from errors import ServiceError
from queues.turns import Turn, Wire
from storage.jobs.jobs import ClaimedJob
from workers.expected_tokens import ExpectedTokens

#: A charge that is off by less than this part of it is left as it is until the job has ended.
WORTH_A_CORRECTION: Final = 1 / 4
TURNED_AWAY_TOKENS = 100  # what a claim that leads to no answer costs its tenant: some ms of a worker, in tokens
TOKENS_A_CPU_S: Final = 20_000  # the same where it took its thread longer to see that: 100 tokens for each 5 ms
MOST_CPU_S: Final = 1.0  # no job takes so much, but the first one in a process may
log = structlog.get_logger("headrace.turns")


class TurnAccount:
    """Corrects charges and offers turns. Work units = tokens / the tenant's weight."""

    def __init__(self, wire: Wire, *, turns_per_tenant: int) -> None:
        self._wire = wire
        self.turns_per_tenant = turns_per_tenant
        self._expected = ExpectedTokens()

    def claimed_nothing(self, turn: Turn) -> None:
        """The turn found no job: its charge is given back, down to a small price."""
        _hint(lambda: self._wire.refund(turn))

    def claimed(self, turn: Turn, job: ClaimedJob) -> float:
        """The average gives way to what this job is expected to use; a backlog beyond W gets the next turn offered.

        Returns what the tenant has been charged for the job so far, in work units: for :meth:`settled`.
        """
        charged = turn.charge
        expected = _units(job, self._expected.of(turn.tenant, job.feature, job.estimated_tokens))
        if abs(expected - charged) > WORTH_A_CORRECTION * charged:
            _hint(lambda: self._wire.correct(turn.lane, turn.tenant, expected - turn.charge))
            charged = expected
        if job.more:
            _hint(lambda: self._wire.offer(turn.lane, turn.tenant))
        return charged

    def let_in(self, offers: Sequence[tuple[UUID, str]]) -> None:
        """A slot was freed for each of these (tenant, lane): their turn, at once."""
        for tenant, lane in offers:
            if lane in self._wire.lanes:
                _hint(lambda lane=lane, tenant=tenant: self._wire.offer(lane, str(tenant)))  # type: ignore[misc]

    def settled(self, turn: Turn, job: ClaimedJob, tokens: int, *, cpu_s: float, charged: float, queued: bool) -> None:
        """What was charged gives way to what was used; a job that is queued again gets its turn offered.

        A job that was turned away has used no tokens, but a worker's time all the same: a tenant whose jobs are all
        turned away would else have every turn. The estimate says nothing about that, for it is the tenant's own word.
        """
        used = _units(job, tokens or max(TURNED_AWAY_TOKENS, TOKENS_A_CPU_S * min(cpu_s, MOST_CPU_S)))
        if tokens:
            self._expected.learn(turn.tenant, job.feature, estimated=job.estimated_tokens, used=tokens)
        _hint(lambda: self._wire.correct(turn.lane, turn.tenant, used - charged, observed=used if tokens else None))
        if queued:
            _hint(lambda: self._wire.offer(turn.lane, turn.tenant))


def _units(job: ClaimedJob, tokens: float) -> float:
    return tokens / job.weight


def _hint(step: Callable[[], object]) -> None:
    try:
        step()
    except ServiceError as error:
        log.warning("turn.hint_lost", error=str(error))
