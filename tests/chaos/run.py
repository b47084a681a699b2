"""One schedule from start to end: play it, end its faults, wait until every job has ended, and judge what is left."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass

from tests.chaos.faults import Faults
from tests.chaos.ground import Ground
from tests.chaos.load import Producer
from tests.chaos.schedule import Action, deal
from tests.chaos.stage import Stage, stage
from tests.chaos.verdict import Figures, breaches, figures, shortened

JOBS_PER_S = 40.0
ENDED_WITHIN_S = 90.0
"""Time that the last job may take once nothing fails any more: a deadline, a few backoffs and a wait for a lost worker
are far shorter."""

_TICK_S = 0.02
_NOTHING_LEFT = """
    select not exists (select from headrace.queue) and not exists (select from headrace.wakes) as nothing_left
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a schedule."""

    seed: int
    seconds: float  # of faults
    actions: list[Action]
    missed: list[str]
    figures: Figures
    asked: int
    cancels: int
    starts: int
    settled_s: float  # from the end of the faults until the last job had ended
    took_s: float
    breaches: list[str]

    def __str__(self) -> str:
        f = self.figures
        endings = ", ".join(f"{name} {n}" for name, n in sorted(f.endings.items()))
        failures = ", ".join(f"{name} {n}" for name, n in sorted(f.failures.items()))
        parts = [
            f"seed {self.seed}: {len(self.actions)} actions ({len(self.missed)} missed)",
            f"{f.jobs} jobs: {endings}{f' (failed: {failures})' if failures else ''}",
            f"{f.runs} runs, {f.unknown_runs} unknown, ${f.cost_usd}",
            f"{f.reclaimed} reclaimed ({f.taken_from_the_living} from the living), {self.cancels} cancels",
            f"{self.starts} starts of processes",
            f"longest pause {f.longest_pause_s:.1f} s, {self.settled_s:.1f} s to settle, {self.took_s:.0f} s in all",
            f"{len(self.breaches)} breaches",
        ]
        return "; ".join(parts)

    def replay(self) -> str:
        """The command that plays it again."""
        return f"python -m tests.chaos --seed {self.seed} --seconds {self.seconds:g}"


def run(ground: Ground, seed: int, *, seconds: float, keep: bool = False) -> Report:
    """Play the schedule of a seed on this ground.

    :param keep: leave the logs there even if no promise was broken.
    """
    began = time.monotonic()
    actions = deal(seed, seconds=seconds)
    with stage(ground, f"chaos_{seed}") as on:
        faults = Faults(on)
        producer = Producer(on, seed=seed, per_s=JOBS_PER_S)
        producer.start()
        try:
            _play(on, faults, actions, seconds)
        finally:
            producer.tell_to_stop()
            on.calm()  # first, since it may wait for an answer of what is frozen
            producer.wait()
        calm_at = time.monotonic()
        _wait_until_all_ended(on)
        settled_s = time.monotonic() - calm_at
        on.end_processes()
        broken = shortened([*breaches(on, producer.ledger), *faults.breaches])
        report = Report(
            seed=seed,
            seconds=seconds,
            actions=actions,
            missed=faults.missed,
            figures=figures(on),
            asked=len(producer.ledger.entries),
            cancels=producer.ledger.cancels,
            starts=on.starts,
            settled_s=settled_s,
            took_s=time.monotonic() - began,
            breaches=broken,
        )
    if not broken and not keep:
        shutil.rmtree(on.directory)
    return report


def _play(on: Stage, faults: Faults, actions: list[Action], seconds: float) -> None:
    began = time.monotonic()
    left = list(actions)
    while (now_s := time.monotonic() - began) < seconds or left:
        while left and left[0].at_s <= now_s:
            faults.do(left.pop(0))
        faults.undo_due()
        on.keep_up()
        time.sleep(_TICK_S)


def _wait_until_all_ended(on: Stage) -> None:
    """Or until the time is up, which the verdict then tells by what is still live."""
    give_up = time.monotonic() + ENDED_WITHIN_S
    while time.monotonic() < give_up:
        on.keep_up()
        row = on.ground.retry(lambda connection: connection.execute(_NOTHING_LEFT).fetchone(), url=on.superuser_url)
        if row is not None and row["nothing_left"]:
            return
        time.sleep(0.1)
