"""The scenarios. Each takes a bench (servers, seed, scale) and returns what it found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from benchmarks.fairness_sim.backlog import TURNS_PER_TENANT, Backlog, MemoryBacklog
from benchmarks.fairness_sim.jobs import BATCH, INTERACTIVE, Asked, Source, alike, mixed
from benchmarks.fairness_sim.ledger import Ledger, jain, percentile
from benchmarks.fairness_sim.world import CALL_S, TOKEN_S, Started, UnblockedWire, World

PROCESSES, SLOTS = 12, 8
LANES = {INTERACTIVE: 9, BATCH: 1}


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure, and whether it is what was wanted (None: nothing was)."""

    what: str
    value: float
    goal: str = ""
    met: bool | None = None


@dataclass(slots=True)
class Bench:
    """What every scenario is built of. ``scale`` shrinks or stretches the number of jobs."""

    url: str  # of a Valkey that may be wiped
    wipe: Callable[[], object]
    seed: int = 1
    scale: float = 1.0
    #: Makes the backlog; None: in memory, and only then tenants may be endless.
    real_backlog: Callable[[], Backlog] | None = None

    def jobs(self, n: int) -> int:
        """So many, scaled."""
        return max(1, int(n * self.scale))


@dataclass(slots=True)
class Fleet:
    """A world with a ledger, on a wiped server."""

    world: World
    backlog: Backlog
    ledger: Ledger
    watch: list[Callable[[Started], object]] = field(default_factory=list)

    def started(self, start: Started) -> None:
        self.ledger.note(start)
        for told in self.watch:
            told(start)

    def endless(self, name: str, weight: float, source: Source, *, lane: str = INTERACTIVE) -> str:
        """A tenant that always has a backlog."""
        assert isinstance(self.backlog, MemoryBacklog)
        tenant = self.backlog.admit(name, weight)
        self.backlog.never_ends(tenant, source)
        job = source()
        self.world.offer(tenant, [Asked(job.user, job.estimate, job.tokens, lane)] * TURNS_PER_TENANT)
        return tenant

    def trickle(self, tenant: str, source: Source, *, every_s: float, until: float) -> None:
        """One job now and then, at random times."""
        dice = random.Random(f"{tenant} trickles")

        def arrive() -> None:
            if self.world.now < until:
                self.world.put(tenant, [source()])
                self.world.after(dice.expovariate(1 / every_s), arrive)

        self.world.after(dice.expovariate(1 / every_s), arrive)

    def until_started(self, jobs: int) -> None:
        """Run until so many were started."""
        self.world.run(enough=lambda: self.ledger.starts >= jobs)


@contextmanager
def fleet(
    bench: Bench, *, processes: int = PROCESSES, slots: int = SLOTS, lanes: Mapping[str, int] = LANES
) -> Iterator[Fleet]:
    """A fresh fleet."""
    bench.wipe()
    wire = UnblockedWire(bench.url, lanes=lanes)
    backlog = bench.real_backlog() if bench.real_backlog else MemoryBacklog()
    try:
        made: Fleet
        world = World(
            wire, backlog, processes=processes, slots=slots, seed=bench.seed, on_start=lambda start: made.started(start)
        )
        made = Fleet(world, backlog, Ledger())
        yield made
    finally:
        wire.close()


def backlogged(bench: Bench, tenants: int, *, rounds: int, weights: tuple[float, ...]) -> list[Finding]:
    """All tenants always have a backlog; jobs of mixed size, estimates off by up to a factor of two."""
    with fleet(bench) as run:
        names = [
            run.endless(f"t-{i:05}", weights[i % len(weights)], mixed(random.Random(f"{bench.seed} {i}"), 800))
            for i in range(tenants)
        ]
        worst = 0.0

        def look(_: Started) -> None:
            nonlocal worst
            if run.ledger.starts % (2 * tenants) == 0:
                worst = max(worst, run.ledger.difference(names))

        run.watch.append(look)
        run.until_started(int(tenants * bench.jobs(rounds) * sum(weights) / len(weights)))
        worst = max(worst, run.ledger.difference(names))
        bound = run.ledger.bound(names, in_flight=4)
        index = run.ledger.jain(names)
        return [
            Finding("jobs started", run.ledger.starts),
            Finding("Jain's index of work / weight", index, ">= 0.999", index >= 0.999),
            Finding("largest difference of work / weight", worst, f"<= {bound:,.0f}", worst <= bound),
        ]


def few_tenants(bench: Bench) -> list[Finding]:
    """Ten tenants on a hundred slots; half of them estimate five times too high, which is made good when jobs end."""
    with fleet(bench) as run:
        names = [run.endless(f"t-{i}", 1, alike(1000, estimate=5000 if i % 2 else 1000)) for i in range(10)]
        run.until_started(bench.jobs(10_000))
        bound = run.ledger.bound(names, in_flight=PROCESSES * SLOTS // len(names) + 1)
        difference = run.ledger.difference(names)
        index = run.ledger.jain(names)
        return [
            Finding("Jain's index of work", index, ">= 0.99", index >= 0.99),
            Finding("largest difference of work", difference, f"<= {bound:,.0f}", difference <= bound),
        ]


def zipf(bench: Bench) -> list[Finding]:
    """300 tenants whose loads follow Zipf's law, twice what the fleet can do: the big ones are held to their share."""
    with fleet(bench) as run:
        capacity = PROCESSES * SLOTS / (CALL_S + 600 * TOKEN_S)  # jobs/s
        shares = [1 / (i + 1) for i in range(300)]
        seconds = 400 * bench.scale
        names = []
        for i, share in enumerate(shares):
            name = run.backlog.admit(f"t-{i:03}", 1)
            source = mixed(random.Random(f"{bench.seed} zipf {i}"), 500)
            run.trickle(name, source, every_s=sum(shares) / (2 * capacity * share), until=seconds)
            names.append(name)
        always = set(names)

        def look() -> None:
            always.intersection_update([name for name in names if run.world.waiting[name] > 0])
            run.world.after(0.5, look)

        run.world.run(until=seconds / 4)
        before = dict(run.ledger.work)
        look()
        run.world.run(until=seconds)
        found = [Finding("tenants that always had a backlog", len(always))]
        if len(always) > 1:
            index = jain([run.ledger.work[name] - before.get(name, 0) for name in sorted(always)])
            found.append(Finding("Jain's index of their work", index, ">= 0.999", index >= 0.999))
        groups = {"always backlogged": sorted(always), "the smallest 200": names[100:]}
        for group, members in groups.items():
            waits = run.ledger.waited(members)
            for percent in (50, 99):
                found.append(Finding(f"{group}: p{percent} wait, s", percentile(waits, percent)))
        return found


def flood(bench: Bench) -> list[Finding]:
    """One tenant has thousands of jobs; fifty others ask for one now and then. Their waits, with and without it."""
    waits: dict[bool, list[float]] = {}
    for with_flood in (False, True):
        with fleet(bench) as run:
            names = [run.backlog.admit(f"quiet-{i:02}", 1) for i in range(50)]
            if with_flood:
                loud = run.backlog.admit("flood", 1)
                source = mixed(random.Random(f"{bench.seed} flood"), 500)
                run.world.put(loud, [source() for _ in range(bench.jobs(10_000))])
                run.world.run(until=8)  # the first calls all began at once
            until = run.world.now + 150 * bench.scale
            for name in names:
                source = mixed(random.Random(f"{bench.seed} {name}"), 500)
                run.trickle(name, source, every_s=10, until=until)
            run.world.run(until=until)
            waits[with_flood] = run.ledger.waited(names)
            left = run.world.waiting[loud] if with_flood else 0
    alone, beside = (percentile(waits[key], 99) for key in (False, True))
    # 96 calls of 2 s end every 20 ms, and the next slot to become free is theirs.
    return [
        Finding("quiet tenants' p99 wait without it, s", alone),
        Finding("with it, s", beside, f"<= {CALL_S} (a shortest call)", beside <= CALL_S),
        Finding("jobs that the flood has left", left),
    ]


def split(bench: Bench) -> list[Finding]:
    """Five tenants with equal weights, one of which spreads its load over 200 users and 40 features."""
    with fleet(bench) as run:
        jobs = bench.jobs(2_500)
        names = []
        for i in range(5):
            name = run.backlog.admit(f"t-{i}", 1)
            dice = random.Random(f"{bench.seed} split {i}")
            plain = mixed(dice, 600, users=200 if i == 0 else 1)
            made = [plain() for _ in range(jobs)]
            if i == 0 and bench.real_backlog is None:  # a real queue knows only the features of its policy
                made = [Asked(job.user, job.estimate, job.tokens, feature=f"f-{dice.randrange(40)}") for job in made]
            run.world.put(name, made)
            names.append(name)
        run.until_started(jobs * 3)
        others = [run.ledger.work[name] for name in names[1:]]
        gain = run.ledger.work[names[0]] / (sum(others) / len(others))
        bound = run.ledger.bound(names, in_flight=PROCESSES * SLOTS // 5 + 1) / min(others)
        return [Finding("its work ÷ the others' mean", gain, f"<= {1 + bound:.3f}", gain <= 1 + bound)]


def idling(bench: Bench, *, estimate: int = 50_000) -> list[Finding]:
    """Nine honest tenants with a backlog, and a cheat: one huge job at a time, asked for anew when one has started."""
    with fleet(bench) as run:
        honest = [run.endless(f"t-{i}", 1, mixed(random.Random(f"{bench.seed} {i}"), 500)) for i in range(9)]
        cheat = run.backlog.admit("cheat", 1)
        huge = Asked("u-0", estimate, 50_000)

        def again(start: Started) -> None:
            if start.tenant == cheat:
                run.world.after(0.01, lambda: run.world.put(cheat, [huge]))

        run.watch.append(again)
        run.world.put(cheat, [huge])
        run.until_started(bench.jobs(15_000))
        mean = sum(run.ledger.work[name] for name in honest) / len(honest)
        lead = run.ledger.work[cheat] - mean
        # What an estimate conceals is not known before the call has ended, so all that is in flight comes on top.
        in_flight = PROCESSES * SLOTS if estimate < huge.tokens else PROCESSES * SLOTS // 10 + 1
        bound = run.ledger.bound([cheat, honest[0]], in_flight=in_flight)
        return [
            Finding("the cheat's work ÷ the honest mean", run.ledger.work[cheat] / mean),
            Finding("its lead over the honest mean", lead, f"<= {bound:,.0f}", lead <= bound),
        ]


def weights(bench: Bench) -> list[Finding]:
    """Ten tenants with a backlog; half way, one's weight goes from 1 to 4. Its share of tokens before and after."""
    with fleet(bench) as run:
        names = [run.endless(f"t-{i}", 1, mixed(random.Random(f"{bench.seed} {i}"), 500)) for i in range(10)]
        run.until_started(half := bench.jobs(5_000))
        before = dict(run.ledger.tokens)
        run.backlog.weigh(names[0], 4)
        run.until_started(2 * half)
        gained = {name: run.ledger.tokens[name] - before[name] for name in names}
        first = before[names[0]] * 10 / sum(before.values())
        after = gained[names[0]] / (sum(gained[name] for name in names[1:]) / 9)
        return [
            Finding("its tokens ÷ an equal share, before", first, "1 ± 10 %", abs(first - 1) <= 0.1),
            Finding("its tokens ÷ another's, after", after, "4 ± 10 %", abs(after / 4 - 1) <= 0.1),
        ]


def lanes(bench: Bench) -> list[Finding]:
    """Batch floods every slot. Interactive jobs trickle in, then flood too, then stop."""
    alone, both_busy = 300 * bench.scale, 700 * bench.scale  # until when, s
    with fleet(bench, processes=4, slots=4) as run:
        batch = run.backlog.admit("batch", 1)
        person = run.backlog.admit("person", 1)
        run.world.put(batch, [alike(500, lane=BATCH)()] * bench.jobs(20_000))
        ends: list[float] = []
        before_it: list[int] = []

        def asks() -> None:
            run.world.put(person, [alike(200)()])
            run.world.after(run.world.dice.uniform(4, 8), asks)

        def started(start: Started) -> None:
            if start.tenant == person and start.at < alone:
                asked_at = start.at - start.wait_s
                before_it.append(sum(1 for end in reversed(ends) if asked_at < end <= start.taken_at))

        run.world.on_end = lambda tenant, job: ends.append(run.world.now)
        run.watch.append(started)
        run.world.at(5, asks)
        run.world.run(until=alone)
        used_by_batch = run.ledger.starts
        busy = run.ledger.tokens[batch]
        run.world.put(person, [alike(500)()] * bench.jobs(20_000))
        before = dict(run.ledger.tokens)
        run.world.run(until=both_busy)
        both = {name: run.ledger.tokens[name] - before[name] for name in (batch, person)}
        minimum = both[batch] / sum(both.values())
        most = max(before_it)
        capacity = alone * 16 / (CALL_S + 500 * TOKEN_S)
        return [
            Finding("calls that end before an interactive job starts, most", most, "<= 1", most <= 1),
            Finding("batch's use of idle capacity", busy / 500 / capacity, ">= 0.9", busy / 500 / capacity >= 0.9),
            Finding("jobs started meanwhile", used_by_batch),
            Finding("batch's share under an interactive flood", minimum, "0.10 ± 0.01", abs(minimum - 0.1) <= 0.01),
        ]


Scenario: TypeAlias = Callable[[Bench], list[Finding]]

SCENARIOS: Mapping[str, Scenario] = {
    "backlogged-1000": lambda bench: backlogged(bench, 1_000, rounds=24, weights=(1, 2, 4)),
    "backlogged-10000": lambda bench: backlogged(bench, 10_000, rounds=18, weights=(1, 2)),
    "few-tenants": few_tenants,
    "zipf": zipf,
    "flood": flood,
    "split": split,
    "idling": idling,
    "idling-and-lying": lambda bench: idling(bench, estimate=30),
    "weights": weights,
    "lanes": lanes,
}
