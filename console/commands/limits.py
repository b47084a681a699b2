"""``headrace limits``: dollars a rolling day, requests a minute and jobs at once, of tenants and their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Annotated

import typer

from console.actor import actor
from console.connect import DATABASE, connect
from console.terminal import amounts
from console.terminal.output import Json, note, print_json, print_table, say
from errors import InvalidInputError
from settings import Settings
from storage.catalogue import tenants
from storage.catalogue.tenants import Tenant
from storage.db import names
from storage.db.connect import Connection
from storage.db.session import operator_session
from storage.money import limits
from storage.money.limits import Cap, Concurrency, RateLimit, Scope, SlotScope, Source, TenantPlan

app = typer.Typer(help="Show and change what tenants, users and features may use.", no_args_is_help=True)

SHOWN = 50
"""The most users that are shown to people; programs get all."""
DEFAULT, NO_LIMIT = "default", "none"
_FROM = {
    Source.DEFAULT: "default",
    Source.PLAN: "its plan",
    Source.POLICY: "the routing policy",
    Source.TENANT: "the tenant",
    Source.USER: "the user",
    Source.FEATURE: "the feature",
}

TenantArgument = Annotated[str, typer.Argument(help="Its id, external id or name.")]


@dataclass(frozen=True, slots=True)
class LimitsInForce:
    """The limits of a tenant, or of the part of it that was asked for."""

    tenant: Tenant
    caps: Sequence[Cap]
    rates: Sequence[RateLimit]
    concurrency: Sequence[Concurrency]


@app.command("show")
def show_command(
    tenant: TenantArgument,
    user: Annotated[str | None, typer.Option(help="Only this user's limits.")] = None,
    feature: Annotated[
        str | None, typer.Option(help="Only this feature's limits; with --user: the limits of this user in it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the limits of a tenant, the source of each, and how much is left now."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        held = _held(connection, tenants.resolve(connection, tenant), user=user, feature=feature)
    _print(held, as_json=as_json)


@app.command("set")
def set_command(
    tenant: TenantArgument,
    user: Annotated[str | None, typer.Option(help="For this user instead of the tenant.")] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="For every user without a rate of its own.")] = False,
    feature: Annotated[str | None, typer.Option(help="For this feature, all its users together.")] = None,
    lane: Annotated[str | None, typer.Option(help="For this lane; with --concurrent.")] = None,
    each_user: Annotated[bool, typer.Option("--each-user", help="With --feature: for each user in it.")] = False,
    daily_usd: Annotated[
        str | None, typer.Option(metavar="USD|default", help="The spend cap of a rolling day, USD.")
    ] = None,
    per_minute: Annotated[str | None, typer.Option(metavar="N|default", help="Requests a minute.")] = None,
    concurrent: Annotated[
        str | None, typer.Option(metavar="N|none", help="Jobs at once; with --lane or --feature.")
    ] = None,
    burst: Annotated[
        bool | None, typer.Option(help="With --concurrent: whether more may run while threads are idle.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set a tenant's cap, rate or concurrency; in effect at the next call and claim.

    It is written to the audit.
    """
    scope, key = bound(user=user, all_users=all_users, feature=feature, each_user=each_user)
    if daily_usd is None and per_minute is None and concurrent is None:
        hint = "Give --daily-usd, --per-minute, --concurrent or some of them."
        raise InvalidInputError("nothing to set", field="daily_usd", hint=hint)
    at_once = None if concurrent is None else bound_at_once(scope, key, lane=lane)
    if lane is not None and (concurrent is None or daily_usd is not None or per_minute is not None):
        raise InvalidInputError(
            "has no other limit than jobs at once", field="lane", value=lane, hint="Give --concurrent alone."
        )
    if burst is not None and concurrent in (None, NO_LIMIT):
        raise InvalidInputError("goes with a number of jobs at once", field="burst", hint="Give --concurrent N.")
    slots = None if concurrent in (None, NO_LIMIT) else amounts.concurrent(concurrent, field="concurrent")
    cap = None if daily_usd in (None, DEFAULT) else amounts.usd(daily_usd, field="daily_usd")
    rate = None if per_minute in (None, DEFAULT) else _rate(per_minute)
    with (
        connect(Settings(), DATABASE) as services,
        operator_session(services.require_ops()) as connection,
        connection.transaction(),
    ):
        found = tenants.resolve(connection, tenant)
        if daily_usd is not None:
            limits.set_cap(connection, found.id, scope, key, cap, actor=actor())
        if per_minute is not None:
            limits.set_rate(connection, found.id, scope, key, rate, actor=actor())
        if at_once is not None:
            limits.set_concurrency(connection, found.id, *at_once, slots, burst=burst, actor=actor())
        held = _only(_held(connection, found, user=user, feature=feature), scope, key, lane)
    if as_json or held.caps or held.rates or held.concurrency:
        _print(held, as_json=as_json)
    else:  # its only limit was lifted
        say(f"{found.name}, {f'lane {lane}' if lane else f'feature {key}'}: no limit of jobs at once")


@app.command("set-model")
def set_model_command(
    model: Annotated[str, typer.Argument(metavar="PROVIDER:MODEL", help="As openai:gpt-6-luna.")],
    concurrent: Annotated[str, typer.Option(metavar="N|none", help="Calls at once, over all tenants.")],
    as_json: Json = False,
) -> None:
    """Set how many calls of a model may run at once, over all tenants; in effect at the next call.

    It is written to the audit.
    """
    slots = None if concurrent == NO_LIMIT else amounts.concurrent(concurrent, field="concurrent")
    with (
        connect(Settings(), DATABASE) as services,
        operator_session(services.require_ops()) as connection,
        connection.transaction(),
    ):
        limits.set_concurrency(connection, None, SlotScope.MODEL, model, slots, actor=actor())
        found = [one for one in limits.concurrency(connection, None) if one.key == model]
    _print_concurrency(found, as_json=as_json, none=f"{model}: no limit of calls at once")


@app.command("models")
def models_command(as_json: Json = False) -> None:
    """List the models that have a concurrency cap, with the calls that run and the jobs that wait."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = limits.concurrency(connection, None)
    _print_concurrency(found, as_json=as_json, none="no model has a limit of calls at once")


@app.command("plans")
def plans_command(as_json: Json = False) -> None:
    """List the plans and the limits that each gives its tenants."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = limits.plans(connection)
    if as_json:
        print_json({"plans": [asdict(plan) for plan in found]})
    else:
        _print_plans(found)


@app.command("set-plan")
def set_plan_command(
    plan: Annotated[str, typer.Argument(help="The plan's name.")],
    daily_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="The spend cap of each of its tenants for a rolling day, USD.")
    ] = None,
    user_share: Annotated[
        str | None, typer.Option(metavar="SHARE", help="A user's default part of the tenant's cap, as 0.2.")
    ] = None,
    user_per_minute: Annotated[
        str | None, typer.Option(metavar="N|none", help="Requests a minute of each user.")
    ] = None,
    tenant_per_minute: Annotated[
        str | None, typer.Option(metavar="N|none", help="Requests a minute of each tenant.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change the limits that a plan gives all its tenants; in effect at the next call and claim.

    It is written to the audit.
    """
    changes: dict[str, Decimal | int | None] = {}
    if daily_usd is not None:
        changes["daily_cost_cap_usd"] = amounts.usd(daily_usd, field="daily_usd")
    if user_share is not None:
        changes["user_share"] = amounts.share(user_share, field="user_share")
    if user_per_minute is not None:
        changes["user_per_minute"] = _rate_or_none(user_per_minute, field="user_per_minute")
    if tenant_per_minute is not None:
        changes["tenant_per_minute"] = _rate_or_none(tenant_per_minute, field="tenant_per_minute")
    if not changes:
        hint = "Give --daily-usd, --user-share, --user-per-minute or --tenant-per-minute."
        raise InvalidInputError("nothing to set", field="daily_usd", hint=hint)
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        after = limits.set_plan(connection, plan, changes, actor=actor())
    if as_json:
        print_json(asdict(after))
    else:
        _print_plans([after])


def bound(*, user: str | None, all_users: bool, feature: str | None, each_user: bool) -> tuple[Scope, str]:
    """The scope that the options mean, and its key.

    :raises InvalidInputError: the options contradict each other.
    """
    if user is not None and all_users:
        raise InvalidInputError(
            "means one user, and --all-users means all", field="user", value=user, hint="Give one of them."
        )
    if user is not None and feature is not None:
        raise InvalidInputError(
            "there is no limit for one user in one feature",
            field="user",
            value=user,
            hint="Limit the user in all, the feature in all, or each user in the feature (--feature F --each-user).",
        )
    if all_users and feature is not None:
        raise InvalidInputError(
            "means all features", field="all_users", hint="For each user in one: --feature F --each-user."
        )
    if each_user and feature is None:
        raise InvalidInputError(
            "goes with --feature", field="each_user", hint="For every user in all features: --all-users."
        )
    if user is not None:
        user = names.clean_name(user, field="user")
    if feature is not None:
        feature = names.clean_name(feature, field="feature", most=names.LONGEST_FEATURE)
        return (Scope.FEATURE_USER if each_user else Scope.FEATURE), feature
    if user is not None:
        return Scope.USER, user
    return (Scope.USER if all_users else Scope.TENANT), ""


def bound_at_once(scope: Scope, key: str, *, lane: str | None) -> tuple[SlotScope, str]:
    """The scope of a concurrency cap.

    :raises InvalidInputError: neither one lane nor one feature.
    """
    if scope is Scope.FEATURE and lane is None:
        return SlotScope.FEATURE, key
    if scope is Scope.TENANT and lane is not None:
        return SlotScope.LANE, lane
    raise InvalidInputError(
        "applies to one lane or one feature of a tenant", field="concurrent", hint="Give --lane L or --feature F."
    )


def _rate(text: str) -> int:
    if text == NO_LIMIT:
        raise InvalidInputError(
            "cannot be lifted here",
            field="per_minute",
            value=text,
            hint=f"Give a number as high as you like, or '{DEFAULT}' for what holds by default.",
        )
    return amounts.per_minute(text, field="per_minute")


def _rate_or_none(text: str, *, field: str) -> int | None:
    return None if text == NO_LIMIT else amounts.per_minute(text, field=field)


def _held(connection: Connection, tenant: Tenant, *, user: str | None, feature: str | None) -> LimitsInForce:
    return LimitsInForce(
        tenant,
        limits.caps(connection, tenant.id, user=user, feature=feature),
        limits.rates(connection, tenant.id, user=user, feature=feature),
        [] if user is not None and feature is None else limits.concurrency(connection, tenant.id, feature=feature),
    )


def _only(held: LimitsInForce, scope: Scope, key: str, lane: str | None) -> LimitsInForce:
    if lane is not None:
        return LimitsInForce(held.tenant, [], [], [one for one in held.concurrency if one.key == lane])
    return LimitsInForce(
        held.tenant,
        [cap for cap in held.caps if (cap.scope, cap.key) == (scope, key)],
        [rate for rate in held.rates if (rate.scope, rate.key) == (scope, key)],
        [
            one
            for one in held.concurrency
            if scope is Scope.FEATURE and (one.scope, one.key) == (SlotScope.FEATURE, key)
        ],
    )


def _print(held: LimitsInForce, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "tenant": held.tenant.name,
                "tenant_id": held.tenant.id,
                "plan": held.tenant.plan,
                "caps": [{**_as_document(cap), "room_usd": cap.room_usd} for cap in held.caps],
                "rates": [_as_document(rate) for rate in held.rates],
                "concurrency": [{**asdict(one), "free": one.free} for one in held.concurrency],
            }
        )
        return
    users_seen = 0
    caps = []
    for cap in held.caps:
        users_seen += cap.scope is Scope.USER
        if cap.scope is not Scope.USER or users_seen <= SHOWN:
            caps.append(cap)
    if caps:
        money = ("daily cap USD", "spent USD", "reserved USD", "room USD")
        print_table(
            ["of", "daily cap USD", "from", "spent USD", "reserved USD", "room USD"],
            [
                (
                    _named(cap.scope, cap.key),
                    _or_none(cap.limit_usd),
                    _FROM[cap.source],
                    cap.spent_usd,
                    cap.reserved_usd,
                    _or_none(cap.room_usd),
                )
                for cap in caps
            ],
            numbers=money,
            spare=["from"],
        )
    if held.rates:
        if caps:
            typer.echo()
        print_table(
            ["of", "requests a minute", "from"],
            [(_named(rate.scope, rate.key), _or_none(rate.per_minute), _FROM[rate.source]) for rate in held.rates],
            numbers=["requests a minute"],
        )
    if held.concurrency:
        if caps or held.rates:
            typer.echo()
        _print_concurrency(held.concurrency, as_json=False, none="")
    if users_seen > SHOWN:
        note(f"{users_seen - SHOWN} more users have caps: --json has them all, --user shows one.")


def _print_concurrency(found: Sequence[Concurrency], *, as_json: bool, none: str) -> None:
    if as_json:
        print_json({"concurrency": [{**asdict(one), "free": one.free} for one in found]})
        return
    if not found:
        say(none)
        return
    numbers = ["at once", "taken", "free", "lent", "waiting"]
    print_table(
        ["of", *numbers, "burst"],
        [(*_figures(one), "yes" if one.burst else "no") for one in found],
        numbers=numbers,
    )


def _figures(one: Concurrency) -> tuple[object, ...]:
    return f"{one.scope} {one.key}", one.slots, one.taken, one.free, one.lent, one.waiting


def _print_plans(plans: Sequence[TenantPlan]) -> None:
    numbers = ["weight", "daily cap USD", "a user's share", "of a user a minute", "of a tenant a minute"]
    print_table(
        ["plan", *numbers],
        [
            (
                plan.name,
                f"{plan.weight:f}",
                plan.daily_cost_cap_usd,
                f"{plan.user_share:f}",
                _or_none(plan.user_per_minute),
                _or_none(plan.tenant_per_minute),
            )
            for plan in plans
        ],
        numbers=numbers,
    )


def _as_document(limit: Cap | RateLimit) -> dict[str, object]:
    """The fields of a limit; ``source`` is called ``from``."""
    return {"from" if name == "source" else name: value for name, value in asdict(limit).items()}


def _named(scope: Scope, key: str) -> str:
    if scope is Scope.TENANT:
        return "tenant"
    if scope is Scope.FEATURE_USER:
        return f"each user in {key}"
    return f"{scope} {key}" if key else "each user"


def _or_none(value: object) -> object:
    return "none" if value is None else value
