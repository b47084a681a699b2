"""What Prometheus reads: the format to the letter, the page that explains it, the command that prints or serves it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from console.metrics.catalogue import METRICS
from console.metrics.exposition import CONTENT_TYPE, exposition
from storage.fleet.chores import ChoreState
from storage.fleet.metrics import CallCounts, FleetCounts, Lane, Snapshot
from tests.console.commands.conftest import BINARY, Headrace
from tests.support.pages import rows

_SAMPLE = re.compile(
    r"(?P<name>[a-z_]+)(?:\{(?P<labels>[a-z_]+=\"(?:[^\"\\\n]|\\[\\n\"])*\"(?:,[a-z_]+=\"(?:[^\"\\\n]|\\[\\n\"])*\")*)\})?"
    r" (?P<figure>-?\d+(?:\.\d+)?(?:e[+-]\d+)?)"
)
SNAPSHOT = Snapshot(
    fleet=FleetCounts(working=2, draining=1, threads=32, oldest_heartbeat_s=1.25, schedulers=1, behind_s=0.0),
    lanes=[Lane("batch", 100, 12.5), Lane("interactive", 4, 0.25)],
    running={"batch": 3, "interactive": 21},
    waiting={"over_budget": 7, 'odd "reason"\\\n': 1},
    ended={"succeeded": 10, "failed": 1},
    calls=[CallCounts("openai", "gpt-6-luna", 12, 3, Decimal("0.000000125"))],
    chores=[ChoreState("sweep", 1.0, failures=2, last_error="x", failed_s_ago=1.0, done_s_ago=4.5)],
    set_aside=3,
)


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, labels) → figure, of a page that is right to the letter."""
    found: dict[tuple[str, str], float] = {}
    told: list[str] = []
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert "\\" not in line
            told.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2] == told[-1]
            assert line.split()[3] in ("gauge", "counter")
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match["name"] == told[-1], "samples stand below their own help"
            assert (match["name"], match["labels"] or "") not in found
            found[match["name"], match["labels"] or ""] = float(match["figure"])
    assert len(told) == len(set(told)), "each metric once"
    return found


def test_the_page_is_right_to_the_letter_and_has_every_figure() -> None:
    found = samples(exposition(SNAPSHOT))

    assert found["headrace_load", ""] == (24 + 104) / 32
    assert found["headrace_runnable_jobs", 'lane="interactive"'] == 4
    assert found["headrace_waiting_jobs", r'reason="odd \"reason\"\\\n"'] == 1
    assert found["headrace_recent_ended_jobs", 'outcome="expired"'] == 0, "an outcome that did not happen is told too"
    assert found["headrace_calls_total", 'provider="openai",model="gpt-6-luna",status="failed"'] == 3
    assert found["headrace_spend_usd_total", 'provider="openai",model="gpt-6-luna"'] == 1.25e-7
    assert found["headrace_scheduler_chore_failures_total", 'chore="sweep"'] == 2
    assert found["headrace_scheduler_set_aside", ""] == 3
    assert {name for name, _ in found} == {metric.name for metric in METRICS}


def test_names_are_good_and_no_label_is_without_bound() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"headrace_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not set(metric.labels) & {"tenant", "tenant_id", "user", "user_id", "job", "job_id"}


def test_the_reference_lists_what_there_is_word_for_word() -> None:
    assert rows("reference/metrics.md") == [
        [f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels) or "–", one.about]
        for one in METRICS
    ]


def test_the_command_prints_a_page_or_a_document(headrace: Headrace, tenant: UUID) -> None:
    page = headrace("metrics")
    document = headrace("metrics", "--json")

    assert (page.code, page.err) == (0, "")
    assert samples(page.out)["headrace_load", ""] == 0
    assert (document.json["load"], document.json["running"]) == (0, {"batch": 0, "interactive": 0})


def test_it_serves_pages_until_it_is_told_to_stop(environment: dict[str, str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [BINARY, "metrics", "--serve", "0", "--json"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        for _ in range(2):
            with urllib.request.urlopen(url, timeout=20) as response:
                assert response.headers["Content-Type"] == CONTENT_TYPE
                assert samples(response.read().decode())["headrace_capacity_threads", ""] == 0
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url.replace("/metrics", "/"), timeout=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(20)


def test_a_database_that_is_away_is_told_as_503(environment: dict[str, str], tmp_path: Path) -> None:
    away = environment | {"HEADRACE_OPS_DATABASE_URL": "postgresql://headrace_ops@127.0.0.1:9/headrace"}
    process = subprocess.Popen(
        [BINARY, "metrics", "--serve", "0", "--json"], env=away, cwd=tmp_path, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=20)
        assert refused.value.code == 503
        assert b"postgres_unavailable" in refused.value.read()
    finally:
        process.kill()
        process.wait(20)


def test_a_port_that_is_taken_is_refused(headrace: Headrace) -> None:
    done = headrace("metrics", "--serve", "1", "--host", "203.0.113.1", "--json")

    assert (done.code, done.json["error"]["code"], done.json["error"]["field"]) == (2, "configuration", "port")
