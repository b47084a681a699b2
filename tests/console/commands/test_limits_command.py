"""``headrace limits``: what holds is shown, what is asked is done and noted, and nonsense is refused with a way out."""

from __future__ import annotations

import os
import pwd
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from console.commands.limits import SHOWN, bound
from console.terminal.amounts import per_minute, share
from errors import InvalidInputError
from storage.db.database import Database
from storage.money import limits
from storage.money.limits import Scope
from tests.console.commands.conftest import Headrace, Ran
from tests.support.pages import DOCS, fences

HOW_TO = DOCS / "how-to" / "set-limits.md"
NOBODY: dict[str, Any] = {"user": None, "all_users": False, "feature": None, "each_user": False}


def held(done: Ran) -> tuple[dict[tuple[str, str], Any], dict[tuple[str, str], Any]]:
    """What a command said: (scope, key) → limit and source, of caps and of rates."""
    assert (done.code, done.err) == (0, ""), done
    return (
        {(one["scope"], one["key"]): (one["limit_usd"], one["from"]) for one in done.json["caps"]},
        {(one["scope"], one["key"]): (one["per_minute"], one["from"]) for one in done.json["rates"]},
    )


def audited(ops: Database) -> list[tuple[Any, ...]]:
    with ops.connection() as connection:
        rows = connection.execute(
            "select actor, action, target, before, after from headrace.audit order by id"
        ).fetchall()
    return [tuple(row.values()) for row in rows]


# ---------------------------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({}, (Scope.TENANT, "")),
        ({"user": "ann"}, (Scope.USER, "ann")),
        ({"all_users": True}, (Scope.USER, "")),
        ({"feature": "chat"}, (Scope.FEATURE, "chat")),
        ({"feature": "chat", "each_user": True}, (Scope.FEATURE_USER, "chat")),
    ],
)
def test_the_options_mean_somebody(options: dict[str, Any], meant: tuple[Scope, str]) -> None:
    assert bound(**{**NOBODY, **options}) == meant


@pytest.mark.parametrize(
    ("options", "field", "hint"),
    [
        ({"user": "ann", "all_users": True}, "user", "Give one of them."),
        ({"user": "ann", "feature": "chat"}, "user", "--feature F --each-user"),
        ({"user": "ann", "feature": "chat", "each_user": True}, "user", "--feature F --each-user"),
        ({"all_users": True, "feature": "chat"}, "all_users", "--feature F --each-user"),
        ({"each_user": True}, "each_user", "--all-users"),
        ({"each_user": True, "user": "ann"}, "each_user", "--all-users"),
        ({"user": ""}, "user", ""),
        ({"feature": ""}, "feature", ""),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], field: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        bound(**{**NOBODY, **options})

    assert refused.value.field == field
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", "", "٣", "none", "1" * 10])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="requests a minute"):
        per_minute(text, field="per_minute")


@pytest.mark.parametrize("text", ["0", "0.0", "1.0001", "20%", "-0.1", "NaN", "1e-1", "٠.٥"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a share"):
        share(text, field="user_share")


def test_amounts_are_exact() -> None:
    assert share("0.333333333333", field="user_share") == Decimal("0.333333333333")
    assert (share("1", field="user_share"), per_minute("060", field="per_minute")) == (Decimal(1), 60)


# ----------------------------------------------------------------------------------------------------------- setting


def test_set_changes_one_thing_says_what_holds_and_who_did_it(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    ann = headrace(
        "limits", "set", "Acme", "--user", "ann", "--daily-usd", "0.1000000001", "--per-minute", "90", "--json"
    )
    everyone = headrace("limits", "set", str(tenant), "--all-users", "--per-minute", "30", "--json")
    chat = headrace("limits", "set", "Acme", "--feature", "chat", "--daily-usd", "3", "--per-minute", "500", "--json")
    each = headrace("limits", "set", "Acme", "--feature", "chat", "--each-user", "--per-minute", "20", "--json")
    acme = headrace("limits", "set", "Acme", "--daily-usd", "20", "--per-minute", "1000", "--json")
    default = headrace(
        "limits", "set", "Acme", "--user", "ann", "--daily-usd", "default", "--per-minute", "default", "--json"
    )

    assert held(ann) == ({("user", "ann"): ("0.1000000001", "user")}, {("user", "ann"): (90, "user")})
    assert held(everyone) == ({}, {("user", ""): (30, "tenant")})
    assert held(chat) == ({("feature", "chat"): ("3", "feature")}, {("feature", "chat"): (500, "feature")})
    assert held(each) == ({}, {("feature_user", "chat"): (20, "feature")})
    assert held(acme) == ({("tenant", ""): ("20", "tenant")}, {("tenant", ""): (1000, "tenant")})
    caps, rates = held(default)
    assert (Decimal(caps["user", "ann"][0]), caps["user", "ann"][1]) == (Decimal(4), "tenant")
    assert rates == {("user", "ann"): (30, "tenant")}
    me = pwd.getpwuid(os.getuid()).pw_name
    assert audited(ops) == [
        (me, "limits.set_cap", "user:ann", None, "0.1000000001"),
        (me, "limits.set_rate", "user:ann", None, 90),
        (me, "limits.set_rate", "all_users", None, 30),
        (me, "limits.set_cap", "feature:chat", None, "3"),
        (me, "limits.set_rate", "feature:chat", None, 500),
        (me, "limits.set_rate", "feature_user:chat", None, 20),
        (me, "tenant.set_cap", "daily_cost_cap_usd", None, "20"),
        (me, "limits.set_rate", "tenant", None, 1000),
        (me, "limits.set_cap", "user:ann", "0.1000000001", None),
        (me, "limits.set_rate", "user:ann", 90, None),
    ]


def test_set_plan_changes_what_is_named_and_no_more(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    first = headrace("limits", "set-plan", "pro", "--user-share", "0.5", "--tenant-per-minute", "900", "--json").json
    second = headrace("limits", "set-plan", "pro", "--daily-usd", "40", "--user-per-minute", "none", "--json").json
    listed = headrace("limits", "plans", "--json").json["plans"]
    shown = headrace("limits", "set-plan", "pro", "--tenant-per-minute", "none")

    assert (first["daily_cost_cap_usd"], first["user_share"], first["tenant_per_minute"]) == ("50.00", "0.5", 900)
    assert (second["daily_cost_cap_usd"], second["user_share"]) == ("40", "0.5")
    assert (second["user_per_minute"], second["tenant_per_minute"]) == (None, 900)
    assert [one["name"] for one in listed] == ["free", "pro", "enterprise"]
    assert listed[1] == second
    assert shown.code == 0
    assert shown.out.splitlines()[-1].split() == ["pro", "2", "40.000000", "0.5", "none", "none"]
    assert [(action, target) for _, action, target, *_ in audited(ops)[-1:]] == [("limits.set_rate", "plan:pro")]


def test_when_the_second_of_two_fails_nothing_is_changed(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    done = headrace("limits", "set", "Acme", "--user", "ann", "--daily-usd", "1", "--per-minute", "0", "--json")
    unknown = headrace("limits", "set", "Acme", "--feature", "nope", "--daily-usd", "1", "--json")
    all_users = headrace("limits", "set", "Acme", "--all-users", "--per-minute", "5", "--daily-usd", "1", "--json")

    assert (done.code, done.json["error"]["field"]) == (2, "per_minute")
    assert (unknown.code, unknown.json["error"]["code"]) == (2, "unknown_feature")
    assert "chat" in unknown.json["error"]["hint"]
    assert (all_users.code, all_users.json["error"]["field"]) == (2, "daily_usd")
    assert "--user-share" in all_users.json["error"]["hint"]
    assert audited(ops) == []


@pytest.mark.parametrize(
    ("arguments", "field", "hint"),
    [
        (["set", "Acme"], "daily_usd", "--per-minute"),
        (["set", "Acme", "--daily-usd", "-5"], "daily_usd", "0.25"),
        (["set", "Acme", "--per-minute", "none"], "per_minute", "default"),
        (["set", "Acme", "--user", "ann", "--feature", "chat", "--daily-usd", "1"], "user", "--each-user"),
        (["set", "Acme", "--concurrent", "5"], "concurrent", "--lane"),
        (["set", "Acme", "--concurrent", "5", "--lane", "batch", "--feature", "chat"], "concurrent", "--lane"),
        (["set", "Acme", "--concurrent", "5", "--feature", "chat", "--each-user"], "concurrent", "--feature"),
        (["set", "Acme", "--concurrent", "5", "--user", "ann"], "concurrent", "--lane"),
        (["set", "Acme", "--concurrent", "-1", "--lane", "batch"], "concurrent", "none"),
        (["set", "Acme", "--concurrent", "100001", "--lane", "batch"], "concurrent", "100000"),
        (["set", "Acme", "--concurrent", "5", "--lane", "nope"], "lane", "interactive"),
        (["set", "Acme", "--concurrent", "5", "--feature", "nope"], "feature", "chat"),
        (["set", "Acme", "--lane", "batch", "--per-minute", "5"], "lane", "--concurrent"),
        (["set-model", "gpt-6-luna", "--concurrent", "5"], "model", "openai:gpt-6-luna"),
        (["set-model", "anthropic:gpt-6-luna", "--concurrent", "5"], "model", "prices list"),
        (["set-plan", "pro"], "daily_usd", "--user-share"),
        (["set-plan", "pro", "--daily-usd", "default"], "daily_usd", "0.25"),
        (["set-plan", "gold", "--daily-usd", "5"], "plan", "free, pro, enterprise"),
        (["show", "Acme", "--feature", "nope"], "feature", "chat"),
        (["show", "Nobody"], "tenant", "tenants list"),
    ],
)
def test_nonsense_is_refused_with_its_field_and_a_way_out(
    headrace: Headrace, ops: Database, tenant: UUID, arguments: list[str], field: str, hint: str
) -> None:
    done = headrace("limits", *arguments, "--json")

    assert (done.code, done.json["error"]["field"]) == (2, field)
    assert hint in done.json["error"].get("hint", "")
    assert audited(ops) == []


def test_the_commands_that_the_how_to_shows_work(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    lines = [line for text in fences(HOW_TO, "sh") for line in text.splitlines()]
    assert len(lines) == 17

    for line in lines:
        done = headrace(*line.split()[1:])
        assert (done.code, done.err) == (0, ""), line

    assert [target for _, _, target, *_ in audited(ops)] == [
        "daily_cost_cap_usd", "tenant", "user:ann", "all_users", "feature:report", "feature:report",
        "feature_user:report", "user:ann", "plan:pro", "plan:pro", "plan:pro", "lane:interactive", "feature:report",
        "model:openai:gpt-6-luna", "model:openai:gpt-6-luna", "lane:batch",
    ]  # fmt: skip


def test_jobs_at_once_are_set_shown_and_lifted(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    lane = headrace("limits", "set", "Acme", "--lane", "batch", "--concurrent", "3", "--json").json
    headrace("limits", "set", "Acme", "--feature", "chat", "--concurrent", "2", "--per-minute", "9")
    shown = headrace("limits", "show", "Acme")
    chat = headrace("limits", "show", "Acme", "--feature", "chat", "--json").json
    lifted = headrace("limits", "set", "Acme", "--lane", "batch", "--concurrent", "none", "--json").json
    model = headrace("limits", "set-model", "openai:gpt-6-luna", "--concurrent", "0", "--json").json
    models = headrace("limits", "models")

    facts = {"burst": False, "lent": 0, "taken": 0, "waiting": 0}
    of_chat = {"scope": "feature", "key": "chat", "slots": 2, "free": 2, **facts}
    assert lane["concurrency"] == [{"scope": "lane", "key": "batch", "slots": 3, "free": 3, **facts}]
    assert (lane["caps"], lane["rates"]) == ([], [])
    assert [line.split() for line in shown.out.splitlines()[-2:]] == [
        ["lane", "batch", "3", "0", "3", "0", "0", "no"],
        ["feature", "chat", "2", "0", "2", "0", "0", "no"],
    ]
    assert chat["concurrency"] == [of_chat]
    assert lifted["concurrency"] == []
    assert model["concurrency"] == [{"scope": "model", "key": "openai:gpt-6-luna", "slots": 0, "free": 0, **facts}]
    assert models.out.splitlines()[-1].split() == ["model", "openai:gpt-6-luna", "0", "0", "0", "0", "0", "no"]
    assert [one[1:] for one in audited(ops)] == [
        ("limits.set_concurrency", "lane:batch", None, 3),
        ("limits.set_rate", "feature:chat", None, 9),
        ("limits.set_concurrency", "feature:chat", None, 2),
        ("limits.set_concurrency", "lane:batch", 3, None),
        ("limits.set_concurrency", "model:openai:gpt-6-luna", None, 0),
    ]


def test_a_cap_may_be_let_be_passed_while_threads_are_idle(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    def set_to(n: str, *more: str) -> bool:
        done = headrace("limits", "set", "Acme", "--lane", "batch", "--concurrent", n, *more, "--json").json
        return bool(done["concurrency"][0]["burst"])

    assert [set_to("3"), set_to("3", "--burst"), set_to("4"), set_to("4", "--no-burst")] == [False, True, True, False]
    assert [one[3:] for one in audited(ops)] == [
        (None, 3), (3, {"slots": 3, "burst": True}), ({"slots": 3, "burst": True}, {"slots": 4, "burst": True}),
        ({"slots": 4, "burst": True}, 4),
    ]  # fmt: skip
    assert headrace("limits", "show", "Acme").out.splitlines()[-1].split()[-1] == "no"
    wrong = headrace("limits", "set", "Acme", "--lane", "batch", "--concurrent", "none", "--burst", "--json")
    assert (wrong.code, wrong.json["error"]["field"]) == (2, "burst")


# ----------------------------------------------------------------------------------------------------------- showing


def test_show_tells_programs_all_and_exactly(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        limits.set_plan(connection, "pro", {"user_per_minute": 60}, actor="x")
        limits.set_cap(connection, tenant, Scope.USER, "ann", Decimal("0.3"), actor="x")
        connection.execute(
            "update headrace.caps set spent_usd = 0.1, reserved_usd = 0.000000000000000001 where key = 'ann'"
        )

    done = headrace("limits", "show", "Acme", "--json")

    assert (done.json["tenant"], done.json["tenant_id"], done.json["plan"]) == ("Acme", str(tenant), "pro")
    assert done.json["caps"] == [
        {
            "scope": "tenant", "key": "", "limit_usd": "50.00", "from": "plan", "spent_usd": "0", "reserved_usd": "0",
            "room_usd": "50.00",
        },
        {
            "scope": "user", "key": "ann", "limit_usd": "0.3", "from": "user", "spent_usd": "0.1",
            "reserved_usd": "0.000000000000000001", "room_usd": "0.199999999999999999",
        },
    ]  # fmt: skip
    assert done.json["rates"] == [
        {"scope": "tenant", "key": "", "per_minute": None, "from": "default"},
        {"scope": "user", "key": "", "per_minute": 60, "from": "plan"},
    ]


def test_show_tells_people_where_each_limit_comes_from(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        limits.set_plan(connection, "pro", {"user_per_minute": 60}, actor="x")
        limits.set_cap(connection, tenant, Scope.USER, "ann", Decimal("0.3"), actor="x")
        # an id that was kept before control characters were refused
        connection.execute("update headrace.caps set key = e'\\x1b[31mann' where scope = 'user'")
        limits.set_rate(connection, tenant, Scope.FEATURE_USER, "report", 5, actor="x")

    lines = [line.split() for line in headrace("limits", "show", "Acme").out.splitlines()]

    assert ["tenant", "50.000000", "its", "plan", "0.000000", "0.000000", "50.000000"] in lines
    assert ["user", "�[31mann", "0.300000", "the", "user", "0.000000", "0.000000", "0.300000"] in lines
    assert ["tenant", "none", "default"] in lines
    assert ["each", "user", "60", "its", "plan"] in lines
    assert ["each", "user", "in", "report", "5", "the", "feature"] in lines


def test_show_tells_what_binds_one_user_in_one_feature(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        limits.set_rate(connection, tenant, Scope.FEATURE_USER, "chat", 5, actor="x")

    caps, rates = held(headrace("limits", "show", "Acme", "--user", "ann", "--feature", "chat", "--json"))

    assert caps == {
        ("tenant", ""): ("50.00", "plan"),
        ("user", "ann"): ("10.0000", "plan"),
        ("feature", "chat"): (None, "default"),
    }
    assert rates.keys() == {("tenant", ""), ("feature", "chat"), ("feature_user", "chat")}
    assert rates["feature_user", "chat"] == (5, "feature")


def test_many_users_are_cut_for_people_and_not_for_programs(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.caps (tenant_id, scope, key, hour)"
            " select %s, 'user', 'u-' || n, date_trunc('hour', headrace.now(), 'UTC') from generate_series(1, %s) n",
            [tenant, SHOWN + 7],
        )
        limits.set_cap(connection, tenant, Scope.USER, "zoe", Decimal(1), actor="x")
        limits.set_cap(connection, tenant, Scope.FEATURE, "chat", Decimal(1), actor="x")

    shown = headrace("limits", "show", "Acme")
    told = headrace("limits", "show", "Acme", "--json").json["caps"]

    assert sum(line.startswith("user ") for line in shown.out.splitlines()) == SHOWN
    assert "user zoe" in shown.out, "a user with a limit of their own comes first"
    assert "feature chat" in shown.out
    assert shown.err == "8 more users have caps: --json has them all, --user shows one.\n"
    assert sum(one["scope"] == "user" for one in told) == SHOWN + 8
