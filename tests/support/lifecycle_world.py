"""What the state machine plays with: requests, calls and endings to draw from, and the database they go to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
from hypothesis import strategies as st

from storage.db.connect import Connection, connect
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.lifecycle_model import Price

SILENT_S = 10.0
START = datetime(2031, 5, 5, 9, 30, tzinfo=UTC)  # in the default partition: no month so far ahead is there yet
LANES = ("interactive", "batch")
USERS = ("ada", "ben")
FEATURES = ("chat", "report")
PROVIDERS = {"gpt-6-luna": "openai", "claude-sonnet-5-5": "anthropic"}
TENANT_LIMITS = (Decimal("0.002"), Decimal(50))
LIMITS = [Decimal(text) for text in ("0.0004", "0.002", "0.05", "20")]
AMPLE = Decimal(1000)
WORKERS = 3

which = st.integers(0, 10**6)  # one of a list that is known only when the step runs
tenant_no = st.integers(0, 1)
at_once_or_later = st.sampled_from([None, None, None, 0, 5, 5, 50, 4000])
some_deadline = st.sampled_from([None, None, None, None, 0, 5, 50, 4000, 100_000])
requests = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(USERS),
        "feature": st.sampled_from(FEATURES),
        "lane": st.sampled_from(LANES),
        "idempotency_key": st.sampled_from([None, None, "k-1", "k-2"]),
        "content": st.sampled_from(["Hello", "Goodbye"]),
        "estimated_tokens": st.sampled_from([1, 100, 5000]),
        "run_in": at_once_or_later,
        "deadline_in": some_deadline,
        "on_over_budget": st.sampled_from(["fail", "wait"]),
        "on_unknown": st.sampled_from(["retry", "fail"]),
    }
)

calls = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["gpt-6-luna", "gpt-6-luna", "claude-sonnet-5-5"]),
        "input_bound": st.sampled_from([0, 1000]),
        "max_output_tokens": st.sampled_from([50, 400, 2000]),
        "min_output_tokens": st.sampled_from([None, None, 20]),
        "key_owner": st.sampled_from(["platform", "platform", "tenant"]),
        "later_output": st.sampled_from([0, 0, 100, 500]),
    }
)
endings = st.fixed_dictionaries(
    {
        "heard": st.sampled_from(["succeeded", "succeeded", "failed", "unknown", None]),
        "input_tokens": st.sampled_from([0, 900, 5000]),
        "output_tokens": st.sampled_from([0, 30, 3000]),
        "verdict": st.sampled_from(["ended", "ended", "retry", "defer", "hand_back", "next_call", "next_call"]),
        "outcome": st.sampled_from(["failed", "rejected", "cancelled", "expired"]),
        "delay_s": st.sampled_from([0, 5, 5, 4000]),
    }
)


@dataclass(frozen=True)
class World:
    """One database, used by one example after the other."""

    app: Connection
    ops: Connection
    owner: psycopg.Connection[Any]
    clock: Clock
    prices: dict[str, Price]

    def wipe(self) -> None:
        """Delete what an example left behind: a long history would slow the checker down."""
        with self.owner.transaction():
            for table in (
                "jobs", "queue", "results", "idempotency", "job_events", "wakes", "runs", "caps", "spend_buckets",
                "reservations", "spend_daily", "billing_daily", "outbox", "audit", "workers", "tenants",
            ):  # fmt: skip
                self.owner.execute(f"delete from headrace.{table}")  # type: ignore[arg-type]


@contextmanager
def open_world(urls: Urls) -> Iterator[World]:
    """The test's database under a clock of its own."""
    with psycopg.connect(urls.owner, autocommit=True) as owner, connect(urls.app) as app, connect(urls.ops) as ops:
        rows = owner.execute(
            "select model, input_usd, cache_write_usd, output_usd from headrace.model_prices"
        ).fetchall()
        for one in (owner, app, ops):
            one.execute("set synchronous_commit = off")  # nothing here outlives a power cut
        yield World(app, ops, owner, Clock(owner, START), {model: Price(*usd) for model, *usd in rows})
