"""Limits act at the next ``begin`` or claim, say who changed them, and tell what holds and why."""

from __future__ import annotations

import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import yaml

from console.provisioning import provision
from errors import InvalidInputError, UnknownFeatureError, UnknownTenantError
from router.policy import SHIPPED_POLICY
from settings import Settings
from storage.catalogue import tenants
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit
from storage.money import limits
from storage.money.limits import Scope, Source
from storage.money.runs import Grant
from tests.conftest import new_tenant
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.pages import DOCS, fences
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)

HOW_TO = DOCS / "how-to" / "set-limits.md"
BY, SET_UP = "a person", "the set-up"
WORST = Decimal("0.000625")  # of tests.support.transactions.call(), USD
SPENT = Decimal("0.000011")  # of tests.support.transactions.used()
PAIRS = (("ann", "chat"), ("bob", "chat"), ("ann", "report"), ("bob", "report"))


@pytest.fixture
def acme(ops: Database) -> UUID:
    """A tenant whose users may spend a fifth of $0.05, each $0.01; with no request rates."""
    with ops.connection() as connection:
        for plan in ("free", "pro", "enterprise"):
            limits.set_plan(connection, plan, {"user_per_minute": None}, actor=SET_UP)
    return new_tenant(ops, "Acme Limited", daily_cap_usd=Decimal("0.05"))


def cap(ops: Database, tenant: UUID, scope: Scope, key: str, usd: str | None) -> None:
    with ops.connection() as connection:
        limits.set_cap(connection, tenant, scope, key, None if usd is None else Decimal(usd), actor=BY)


def rate(ops: Database, tenant: UUID, scope: Scope, key: str, per_minute: int | None) -> None:
    with ops.connection() as connection:
        limits.set_rate(connection, tenant, scope, key, per_minute, actor=BY)


def plan(ops: Database, name: str, **changes: Any) -> limits.TenantPlan:
    with ops.connection() as connection:
        return limits.set_plan(connection, name, changes, actor=BY)


def begin(app: Database, tenant: UUID, user: str = "ann", feature: str = "chat") -> Grant:
    """One job as far as its first call; answered if it is granted, given up if not."""
    claim, planned = new_id(), planned_call()
    with app.connection() as connection:
        job = enqueue_job(connection, tenant, user_id=user, feature=feature)
        assert claim_job(connection, tenant, claim_id=claim, worker_id=new_id()) is not None
        grant = begin_call(connection, tenant, job, claim, planned)
        if grant.verdict == "granted":
            settle_job(
                connection,
                tenant,
                job,
                claim,
                answered_run(planned.run_id),
                "ended",
                **succeeded_outcome(planned.run_id),
            )
        else:
            settle_job(
                connection, tenant, job, claim, None, "ended", outcome="rejected", reason="over_budget", error={}
            )
    return grant


def stopped_by(app: Database, tenant: UUID, **whose: str) -> tuple[str | None, str | None, Decimal | None] | None:
    """The cap that refuses the next call; None when it is granted."""
    grant = begin(app, tenant, **whose)
    return None if grant.verdict == "granted" else (grant.cap_scope, grant.cap_key, grant.limit_usd)


def bound(app: Database, tenant: UUID, user: str = "ann", feature: str = "chat") -> dict[tuple[str, str], int]:
    """The rates that bind the next claim."""
    with app.connection() as connection:
        job = enqueue_job(connection, tenant, user_id=user, feature=feature)
        claimed = claim_job(connection, tenant, claim_id=(claim := new_id()), worker_id=new_id())
        assert claimed is not None
        settle_job(connection, tenant, job, claim, None, "ended", outcome="failed", reason="x", error={})
    return {(one.scope, one.key): one.per_minute for one in claimed.rates}


def audited(ops: Database) -> list[tuple[Any, ...]]:
    with ops.connection() as connection:
        rows = connection.execute(
            "select tenant_id, action, target, before, after from headrace.audit where actor = %s order by id", [BY]
        ).fetchall()
    return [(row["tenant_id"], row["action"], row["target"], row["before"], row["after"]) for row in rows]


# ----------------------------------------------------------------------------------------------------------- dollars


def test_a_users_cap_acts_between_two_calls(app: Database, ops: Database, acme: UUID) -> None:
    assert stopped_by(app, acme) is None
    cap(ops, acme, Scope.USER, "ann", "0.0006")
    assert stopped_by(app, acme) == ("user", "ann", Decimal("0.0006"))
    assert stopped_by(app, acme, user="bob") is None, "it is ann's alone"
    cap(ops, acme, Scope.USER, "ann", "0.02")
    assert stopped_by(app, acme) is None
    cap(ops, acme, Scope.USER, "ann", "0")
    assert stopped_by(app, acme) == ("user", "ann", Decimal(0))
    cap(ops, acme, Scope.USER, "ann", None)
    assert stopped_by(app, acme) is None, "a fifth of the tenant's again"
    assert audited(ops) == [
        (acme, "limits.set_cap", "user:ann", None, "0.0006"),
        (acme, "limits.set_cap", "user:ann", "0.0006", "0.02"),
        (acme, "limits.set_cap", "user:ann", "0.02", "0"),
        (acme, "limits.set_cap", "user:ann", "0", None),
    ]


def test_a_cap_may_be_there_before_the_user(app: Database, ops: Database, acme: UUID) -> None:
    cap(ops, acme, Scope.USER, "carol", "0.0001")
    assert stopped_by(app, acme, user="carol") == ("user", "carol", Decimal("0.0001"))


def test_a_features_cap_acts_between_two_calls(app: Database, ops: Database, acme: UUID) -> None:
    other = new_tenant(ops, "Other")
    assert stopped_by(app, acme, feature="report") is None
    cap(ops, acme, Scope.FEATURE, "report", "0.0006")
    assert stopped_by(app, acme, feature="report") == ("feature", "report", Decimal("0.0006"))
    assert stopped_by(app, acme, feature="report", user="bob") == ("feature", "report", Decimal("0.0006"))
    assert stopped_by(app, acme, feature="chat") is None
    assert stopped_by(app, other, feature="report") is None, "it is this tenant's alone"
    cap(ops, acme, Scope.FEATURE, "report", None)
    assert stopped_by(app, acme, feature="report") is None, "a feature has none by default"


def test_a_tenants_cap_acts_between_two_calls_and_moves_its_users(app: Database, ops: Database, acme: UUID) -> None:
    cap(ops, acme, Scope.TENANT, "", "0.0005")
    assert stopped_by(app, acme) == ("tenant", "", Decimal("0.0005"))
    cap(ops, acme, Scope.TENANT, "", "0.003")
    scope, key, limit = stopped_by(app, acme) or (None, None, None)
    assert (scope, key, limit) == ("user", "ann", Decimal("0.0006")), "a fifth of it"
    cap(ops, acme, Scope.TENANT, "", None)
    assert stopped_by(app, acme) is None, "the plan's $50"
    assert audited(ops) == [
        (acme, "tenant.set_cap", "daily_cost_cap_usd", "0.05", "0.0005"),
        (acme, "tenant.set_cap", "daily_cost_cap_usd", "0.0005", "0.003"),
        (acme, "tenant.set_cap", "daily_cost_cap_usd", "0.003", None),
    ]


def test_a_tenants_limit_that_was_put_on_its_cap_by_hand_goes(app: Database, ops: Database, acme: UUID) -> None:
    assert stopped_by(app, acme) is None
    with ops.connection() as connection:
        connection.execute("update headrace.caps set limit_usd = 0.0001 where scope = 'tenant'")
    assert stopped_by(app, acme) == ("tenant", "", Decimal("0.0001"))
    cap(ops, acme, Scope.TENANT, "", "0.05")
    assert stopped_by(app, acme) is None
    assert audited(ops) == [(acme, "tenant.set_cap", "daily_cost_cap_usd", "0.0001", "0.05")]


def test_a_plan_moves_its_tenants_but_not_those_with_a_cap_of_their_own(
    app: Database, ops: Database, acme: UUID
) -> None:
    on_pro, on_free = new_tenant(ops, "On pro"), new_tenant(ops, "On free", plan="free")
    plan(ops, "pro", daily_cost_cap_usd=Decimal("0.0005"))
    assert stopped_by(app, on_pro) == ("tenant", "", Decimal("0.0005"))
    assert stopped_by(app, acme) is None
    assert stopped_by(app, on_free) is None
    after = plan(ops, "pro", daily_cost_cap_usd=Decimal("0.05"), user_share=Decimal("0.01"))
    assert (after.daily_cost_cap_usd, after.user_share) == (Decimal("0.05"), Decimal("0.01"))
    assert stopped_by(app, on_pro) == ("user", "ann", Decimal("0.0005"))
    assert stopped_by(app, acme) == ("user", "ann", Decimal("0.0005")), "the share holds for its own cap too"
    assert audited(ops) == [
        (None, "limits.set_cap", "plan:pro", {"daily_cost_cap_usd": "50.00"}, {"daily_cost_cap_usd": "0.0005"}),
        (
            None,
            "limits.set_cap",
            "plan:pro",
            {"daily_cost_cap_usd": "0.0005", "user_share": "0.20"},
            {"daily_cost_cap_usd": "0.05", "user_share": "0.01"},
        ),
    ]


def test_changes_at_once_follow_each_other_in_the_audit(ops: Database, acme: UUID) -> None:
    amounts = [f"0.{number:02}" for number in range(1, 25)]
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda usd: cap(ops, acme, Scope.USER, "ann", usd), amounts))
    steps = [(before, after) for *_, before, after in audited(ops)]
    assert sorted(after for _, after in steps) == amounts
    assert [before for before, _ in steps] == [None, *(after for _, after in steps[:-1])]


def test_nobody_waits_for_a_transaction_that_enqueues(urls: Urls, ops: Database, acme: UUID) -> None:
    """A caller enqueues in a transaction of its own and takes its time: limits can be changed meanwhile."""
    with psycopg.connect(urls.app) as caller:
        caller.execute(
            "select headrace.enqueue(tenant_id => %s, user_id => 'ann', feature => 'chat',"
            """ messages => '[{"role": "user", "content": "Hello"}]')""",
            [acme],
        )
        with ops.connection() as connection, connection.transaction():
            connection.execute("set local lock_timeout = '5s'")
            for scope, key in ((Scope.TENANT, ""), (Scope.USER, "ann"), (Scope.FEATURE, "chat")):
                limits.set_cap(connection, acme, scope, key, Decimal(1), actor=BY)
                limits.set_rate(connection, acme, scope, key, 1, actor=BY)
            limits.set_plan(connection, "pro", {"daily_cost_cap_usd": Decimal(60)}, actor=BY)


# ------------------------------------------------------------------------------------------------------------- rates


def test_rates_are_bound_at_the_next_claim_and_the_nearest_wins(app: Database, ops: Database, acme: UUID) -> None:
    assert bound(app, acme) == {}
    plan(ops, "pro", user_per_minute=60, tenant_per_minute=600)
    assert bound(app, acme) == {("tenant", ""): 600, ("user", "ann"): 60}
    rate(ops, acme, Scope.TENANT, "", 500)
    rate(ops, acme, Scope.USER, "", 50)
    assert bound(app, acme) == {("tenant", ""): 500, ("user", "ann"): 50}
    rate(ops, acme, Scope.FEATURE, "chat", 300)
    rate(ops, acme, Scope.FEATURE_USER, "chat", 30)
    assert bound(app, acme) == {("tenant", ""): 500, ("feature", "chat"): 300, ("feature_user", "chat:ann"): 30}
    assert bound(app, acme, feature="report") == {("tenant", ""): 500, ("user", "ann"): 50}
    rate(ops, acme, Scope.USER, "ann", 3)
    assert bound(app, acme) == {("tenant", ""): 500, ("feature", "chat"): 300, ("user", "ann"): 3}
    assert bound(app, acme, user="bob")["feature_user", "chat:bob"] == 30
    # and back, one after the other
    rate(ops, acme, Scope.USER, "ann", None)
    rate(ops, acme, Scope.FEATURE_USER, "chat", None)
    rate(ops, acme, Scope.FEATURE, "chat", None)
    assert bound(app, acme) == {("tenant", ""): 500, ("user", "ann"): 50}
    rate(ops, acme, Scope.USER, "", None)
    rate(ops, acme, Scope.TENANT, "", None)
    assert bound(app, acme) == {("tenant", ""): 600, ("user", "ann"): 60}
    plan(ops, "pro", user_per_minute=None, tenant_per_minute=None)
    assert bound(app, acme) == {}


def test_every_change_of_a_rate_is_in_the_audit(ops: Database, acme: UUID) -> None:
    for per_minute in (10, 20, None, None):
        rate(ops, acme, Scope.USER, "", per_minute)
    rate(ops, acme, Scope.TENANT, "", 1)
    rate(ops, acme, Scope.USER, "ann", 2)
    rate(ops, acme, Scope.FEATURE, "chat", 3)
    rate(ops, acme, Scope.FEATURE_USER, "chat", 4)
    plan(ops, "pro", user_per_minute=5, user_share=Decimal("0.5"))
    assert audited(ops)[:4] == [
        (acme, "limits.set_rate", "all_users", None, 10),
        (acme, "limits.set_rate", "all_users", 10, 20),
        (acme, "limits.set_rate", "all_users", 20, None),
        (acme, "limits.set_rate", "all_users", None, None),
    ]
    assert audited(ops)[4:8] == [
        (acme, "limits.set_rate", "tenant", None, 1),
        (acme, "limits.set_rate", "user:ann", None, 2),
        (acme, "limits.set_rate", "feature:chat", None, 3),
        (acme, "limits.set_rate", "feature_user:chat", None, 4),
    ]
    assert sorted(audited(ops)[8:], key=str) == [
        (None, "limits.set_cap", "plan:pro", {"user_share": "0.20"}, {"user_share": "0.5"}),
        (None, "limits.set_rate", "plan:pro", {"user_per_minute": None}, {"user_per_minute": 5}),
    ]


def test_the_policys_rate_of_a_feature_is_published_and_reclaimed(
    app: Database, ops: Database, acme: UUID, urls: Urls, tmp_path: Path
) -> None:
    plan(ops, "pro", user_per_minute=60)
    policy, file = yaml.safe_load(SHIPPED_POLICY.read_text("utf-8")), tmp_path / "policy.yaml"
    policy["features"]["report"]["user_requests_per_minute"] = 240

    def publish() -> None:
        file.write_text(yaml.safe_dump(policy), "utf-8")
        provision(urls.owner, lanes=Settings().lane_weights, routing_policy=file)

    publish()
    assert bound(app, acme, feature="report") == {("feature_user", "report:ann"): 240}
    assert bound(app, acme, feature="chat") == {("user", "ann"): 60}
    with ops.connection() as connection:
        (one,) = [one for one in limits.rates(connection, acme) if one.scope is Scope.FEATURE_USER]
    assert (one.key, one.per_minute, one.source) == ("report", 240, Source.POLICY)
    rate(ops, acme, Scope.FEATURE_USER, "report", 10)
    assert bound(app, acme, feature="report") == {("feature_user", "report:ann"): 10}, "the tenant's own comes first"
    rate(ops, acme, Scope.FEATURE_USER, "report", None)
    del policy["features"]["report"]["user_requests_per_minute"]
    publish()
    assert bound(app, acme, feature="report") == {("user", "ann"): 60}


def test_a_feature_that_leaves_the_policy_leaves_no_rate(ops: Database, acme: UUID, urls: Urls, tmp_path: Path) -> None:
    policy, file = yaml.safe_load(SHIPPED_POLICY.read_text("utf-8")), tmp_path / "policy.yaml"
    policy["features"]["report"]["user_requests_per_minute"] = 240
    for change in (lambda: None, lambda: policy["features"].pop("report")):
        change()
        file.write_text(yaml.safe_dump(policy), "utf-8")
        provision(urls.owner, lanes=Settings().lane_weights, routing_policy=file)
    with ops.connection() as connection:
        (row,) = connection.execute("select * from headrace.features where name = 'report'").fetchall()
        assert (row["user_per_minute"], row["retired_at"] is None) == (None, False)
        with pytest.raises(UnknownFeatureError):
            limits.set_rate(connection, acme, Scope.FEATURE, "report", 5, actor=BY)
        limits.set_rate(connection, acme, Scope.FEATURE, "report", None, actor=BY)  # what was set can still go


# ----------------------------------------------------------------------------------------------------------- reading


def test_what_holds_is_told_with_its_source_and_room(app: Database, ops: Database, acme: UUID) -> None:
    for user, feature in (("ann", "chat"), ("ann", "chat"), ("bob", "report")):
        assert stopped_by(app, acme, user=user, feature=feature) is None
    cap(ops, acme, Scope.USER, "carol", "0.002")
    cap(ops, acme, Scope.FEATURE, "report", "0.01")
    with app.connection() as connection:  # one more is under way
        job, claim = enqueue_job(connection, acme, user_id="bob"), new_id()
        claim_job(connection, acme, claim_id=claim, worker_id=new_id())
        assert begin_call(connection, acme, job, claim, planned_call()).verdict == "granted"
    with ops.connection() as connection:
        held = limits.caps(connection, acme)
    fifth, own = Decimal("0.01"), Decimal("0.002")
    assert [(c.scope, c.key, c.limit_usd, c.source, c.spent_usd, c.reserved_usd, c.room_usd) for c in held] == [
        ("tenant", "", Decimal("0.05"), "tenant", 3 * SPENT, WORST, Decimal("0.05") - 3 * SPENT - WORST),
        ("user", "carol", own, "user", 0, 0, own),
        ("user", "ann", fifth, "tenant", 2 * SPENT, 0, fifth - 2 * SPENT),
        ("user", "bob", fifth, "tenant", SPENT, WORST, fifth - SPENT - WORST),
        ("feature", "report", Decimal("0.01"), "feature", SPENT, 0, Decimal("0.01") - SPENT),
        ("feature", "chat", None, "default", 2 * SPENT, WORST, None),
    ]
    cap(ops, acme, Scope.TENANT, "", None)
    cap(ops, acme, Scope.USER, "ann", "0.000001")
    with ops.connection() as connection:
        by_name = {(one.scope, one.key): one for one in limits.caps(connection, acme)}
        assert {one.source for one in limits.caps(connection, new_tenant(ops, "Fresh"))} == {Source.PLAN}
    assert by_name[Scope.TENANT, ""].source is Source.PLAN
    assert (by_name[Scope.USER, "bob"].source, by_name[Scope.USER, "bob"].limit_usd) == (Source.PLAN, Decimal(10))
    assert by_name[Scope.USER, "ann"].room_usd == 0, "there is no room, and no less than none"


def test_what_left_the_window_is_not_told_as_spent(urls: Urls, app: Database, ops: Database, acme: UUID) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        clock = Clock(owner, datetime(2030, 5, 17, 10, 20, tzinfo=UTC))
        assert stopped_by(app, acme) is None
        for hours, spent in ((0, SPENT), (24, SPENT), (25, Decimal(0))):
            clock.set(datetime(2030, 5, 17, 10, 20, tzinfo=UTC) + timedelta(hours=hours))
            with ops.connection() as connection:
                assert {one.spent_usd for one in limits.caps(connection, acme)} == {spent}


def test_only_who_was_asked_for_is_told_of(app: Database, ops: Database, acme: UUID) -> None:
    for user, feature in PAIRS:
        begin(app, acme, user, feature)
    rate(ops, acme, Scope.USER, "bob", 9)
    rate(ops, acme, Scope.FEATURE, "report", 90)

    def told(**asked: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        with ops.connection() as connection:
            held, allowed = limits.caps(connection, acme, **asked), limits.rates(connection, acme, **asked)
        return [(one.scope, one.key) for one in held], [(one.scope, one.key) for one in allowed]

    tenant = ("tenant", "")
    assert told(user="ann") == ([tenant, ("user", "ann")], [tenant, ("user", "ann")])
    assert told(user="never seen") == ([tenant, ("user", "never seen")], [tenant, ("user", "never seen")])
    assert told(feature="chat") == (
        [tenant, ("feature", "chat")],
        [tenant, ("user", ""), ("feature", "chat"), ("feature_user", "chat")],
    )
    assert told(user="bob", feature="report") == (
        [tenant, ("user", "bob"), ("feature", "report")],
        [tenant, ("user", "bob"), ("feature", "report")],
    )
    assert told()[1] == [tenant, ("user", ""), ("user", "bob"), ("feature", "report")]


def test_the_rates_that_are_told_are_those_that_bind(app: Database, ops: Database, acme: UUID) -> None:
    """For every way to set rates: what is told of a user in a feature is what its next claim counts under."""
    plan(ops, "pro", user_per_minute=60)
    ways: list[tuple[Scope, str, int]] = [
        (Scope.TENANT, "", 500),
        (Scope.USER, "", 50),
        (Scope.USER, "ann", 5),
        (Scope.FEATURE, "chat", 300),
        (Scope.FEATURE_USER, "chat", 30),
    ]
    sources = set()
    for chosen in itertools.product([False, True], repeat=len(ways)):
        for (scope, key, per_minute), is_set in zip(ways, chosen, strict=True):
            rate(ops, acme, scope, key, per_minute if is_set else None)
        for user, feature in PAIRS:
            with ops.connection() as connection:
                told = limits.rates(connection, acme, user=user, feature=feature)
            sources |= {(one.scope, one.source) for one in told}
            keys = {Scope.FEATURE_USER: f"{feature}:{user}"}
            assert bound(app, acme, user, feature) == {
                (one.scope, keys.get(one.scope, one.key)): one.per_minute for one in told if one.per_minute is not None
            }
    assert sources == {
        ("tenant", "default"), ("tenant", "tenant"), ("user", "plan"), ("user", "tenant"), ("user", "user"),
        ("feature", "default"), ("feature", "feature"), ("feature_user", "feature"),
    }  # fmt: skip


def test_the_how_to_tells_what_a_new_database_has(ops: Database) -> None:
    with ops.connection() as connection:
        found = limits.plans(connection)
        for text in fences(HOW_TO, "sql"):
            connection.execute(text.encode())
    told = re.findall(r"^\| `(\w+)` \| \$(\d+) \| (\d+) % of", HOW_TO.read_text("utf-8"), re.MULTILINE)
    assert told == [(one.name, f"{one.daily_cost_cap_usd:.0f}", f"{one.user_share:.0%}".rstrip("%")) for one in found]


def test_plans_are_told_cheapest_first(ops: Database, acme: UUID) -> None:
    plan(ops, "free", tenant_per_minute=100)
    with ops.connection() as connection:
        found = limits.plans(connection)
    assert [(one.name, one.daily_cost_cap_usd, one.tenant_per_minute) for one in found] == [
        ("free", Decimal(5), 100),
        ("pro", Decimal(50), None),
        ("enterprise", Decimal(500), None),
    ]


# -------------------------------------------------------------------------------------------------------- the audit


def test_a_cap_lowered_below_its_spend_is_no_breach_but_excuses_no_other(
    app: Database, ops: Database, acme: UUID
) -> None:
    for user, feature in PAIRS:
        begin(app, acme, user, feature)

    def breaches() -> set[tuple[str, str]]:
        with ops.connection() as connection:
            found = audit.findings(connection)
        assert {one.check for one in found} <= {"no_cap_is_passed"}
        return {(one.facts["scope"], one.facts["key"]) for one in found}

    cap(ops, acme, Scope.USER, "ann", "0.000001")
    cap(ops, acme, Scope.FEATURE, "report", "0")
    assert breaches() == set()
    with ops.connection() as connection:
        connection.execute("update headrace.caps set limit_usd = 0 where key in ('bob', 'chat')")
    assert breaches() == {("user", "bob"), ("feature", "chat")}, "the actor is not known"
    cap(ops, acme, Scope.USER, "bob", "0")
    assert breaches() == {("feature", "chat")}
    cap(ops, acme, Scope.TENANT, "", "0")
    rate(ops, acme, Scope.FEATURE, "chat", 1)
    assert breaches() == set(), "as it was before there were limits of one user: a tenant's change excuses its caps"


@pytest.mark.parametrize("change", [{"daily_cost_cap_usd": Decimal(0)}, {"user_share": Decimal("0.0000000001")}])
def test_a_plan_lowered_below_the_spend_of_its_tenants_is_no_breach(
    app: Database, ops: Database, acme: UUID, change: dict[str, Decimal]
) -> None:
    on_pro, on_free = new_tenant(ops, "On pro"), new_tenant(ops, "On free", plan="free")
    for tenant in (on_pro, on_free):
        begin(app, tenant)
    plan(ops, "pro", **change)
    with ops.connection() as connection:
        assert audit.findings(connection) == []
        connection.execute("update headrace.plans set daily_cost_cap_usd = 0 where name = 'free'")
        assert {one.tenant_id for one in audit.findings(connection)} == {on_free}, "not another plan's change"
        connection.execute(
            "update headrace.caps set limit_usd = 0 where scope = 'feature' and tenant_id = %s", [on_pro]
        )
        assert {(one.tenant_id, one.facts["scope"]) for one in audit.findings(connection)} >= {(on_pro, "feature")}


def test_a_rate_excuses_no_overspend(app: Database, ops: Database, acme: UUID) -> None:
    begin(app, acme)
    rate(ops, acme, Scope.TENANT, "", 10)
    plan(ops, "pro", user_per_minute=10)
    with ops.connection() as connection:
        connection.execute("update headrace.tenants set daily_cost_cap_usd = 0 where id = %s", [acme])
        assert {one.facts["scope"] for one in audit.findings(connection)} == {"tenant", "user"}


# ----------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("scope", "key", "usd", "field", "hint"),
    [
        (Scope.USER, "", "1", "daily_usd", "set-plan PLAN --user-share"),
        (Scope.FEATURE_USER, "chat", "1", "daily_usd", "Cap the feature in all"),
        (Scope.USER, "ann", "-1", "daily_usd", "0 or more"),
        (Scope.TENANT, "", "NaN", "daily_usd", "0 or more"),
        (Scope.FEATURE, "chat", "Infinity", "daily_usd", "0 or more"),
        (Scope.FEATURE, "", "1", "feature", ""),
        (Scope.FEATURE, "", None, "feature", ""),
        (Scope.FEATURE, "nope", "1", "feature", "chat, code_review"),
        (Scope.USER, "x" * 201, "1", "user", ""),
        (Scope.TENANT, "ann", "1", "key", ""),
    ],
)
def test_a_cap_that_cannot_be_is_refused(
    ops: Database, acme: UUID, scope: Scope, key: str, usd: str | None, field: str, hint: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        cap(ops, acme, scope, key, usd)
    assert refused.value.field == field
    assert hint in (refused.value.hint or "")
    assert audited(ops) == []


@pytest.mark.parametrize("per_minute", [0, -1, 2**31, True, 1.5, "60"])
def test_a_rate_that_cannot_be_is_refused(ops: Database, acme: UUID, per_minute: Any) -> None:
    with pytest.raises(InvalidInputError, match="requests a minute"):
        rate(ops, acme, Scope.TENANT, "", per_minute)
    with pytest.raises(InvalidInputError) as refused:
        plan(ops, "pro", tenant_per_minute=per_minute)
    assert refused.value.field == "tenant_per_minute"
    assert audited(ops) == []


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("gold", {"user_share": Decimal("0.5")}, "plan"),
        ("pro", {}, "changes"),
        ("pro", {"weight": Decimal(3)}, "changes"),
        ("pro", {"user_share": Decimal(0)}, "user_share"),
        ("pro", {"user_share": Decimal("1.01")}, "user_share"),
        ("pro", {"user_share": None}, "user_share"),
        ("pro", {"user_share": 0.5}, "user_share"),
        ("pro", {"daily_cost_cap_usd": None}, "daily_cost_cap_usd"),
        ("pro", {"daily_cost_cap_usd": 5.0}, "daily_cost_cap_usd"),
        ("pro", {"daily_cost_cap_usd": Decimal(-5)}, "daily_cost_cap_usd"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    ops: Database, acme: UUID, name: str, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        plan(ops, name, **changes)
    assert refused.value.field == field
    assert audited(ops) == []


def test_nobody_gets_a_limit_without_being_a_tenant(ops: Database, acme: UUID) -> None:
    for scope, key in ((Scope.TENANT, ""), (Scope.USER, "ann"), (Scope.FEATURE, "chat")):
        for usd in ("1", None):
            with pytest.raises(UnknownTenantError):
                cap(ops, new_id(), scope, key, usd)
        for per_minute in (1, None):
            with pytest.raises(UnknownTenantError):
                rate(ops, new_id(), scope, key, per_minute)
    with ops.connection() as connection:
        assert connection.execute("select from headrace.caps").fetchall() == []
        assert connection.execute("select from headrace.rates").fetchall() == []
        with pytest.raises(UnknownTenantError):
            tenants.set_cap(connection, new_id(), Decimal(1), actor=BY)
    assert audited(ops) == []


def test_the_application_may_change_no_limit(app: Database, ops: Database, acme: UUID) -> None:
    with app.as_tenant(acme) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        limits.set_cap(connection, acme, Scope.USER, "ann", Decimal(100), actor=BY)
    with app.as_tenant(acme) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        limits.set_rate(connection, acme, Scope.USER, "ann", 100, actor=BY)
