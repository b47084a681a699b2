"""``headrace tenants``: the customers, their plans, weights and daily caps."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import typer

from console.actor import actor
from console.connect import DATABASE, connect
from console.terminal import amounts
from console.terminal.amounts import usd
from console.terminal.output import Json, note, print_json, print_table, say
from errors import InvalidInputError
from settings import Settings
from storage.catalogue import tenants
from storage.catalogue.tenants import Tenant
from storage.db.session import operator_session

app = typer.Typer(help="Add and list tenants, set their weights.", no_args_is_help=True)

_PLANS_OWN = "plan"
_MAY_BE_NEGATIVE = {"ignore_unknown_options": True}  # so that -5 is refused as a number, not as an option


@app.command("add")
def add_command(
    name: Annotated[str, typer.Argument(help="Its name.")],
    plan: Annotated[str, typer.Option(help="Its plan.")] = "free",
    daily_cap: Annotated[
        str | None, typer.Option(metavar="USD", help="Its spend cap of a rolling day, USD; default: the plan's.")
    ] = None,
    external_id: Annotated[str | None, typer.Option(help="Its id in your own system; unique.")] = None,
    same_name: Annotated[bool, typer.Option("--same-name", help="Allow a name that another tenant has.")] = False,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="If a tenant has this name, print its id and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a tenant and print its id. A name that another tenant has is refused."""
    if if_missing and (same_name or external_id is not None):
        other = "same_name" if same_name else "external_id"
        raise InvalidInputError("does not go with --if-missing", field=other, hint="Give one of the two.")
    cap = None if daily_cap is None else usd(daily_cap, field="daily_cap")
    added = True
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        if if_missing:
            tenant_id, added = tenants.add_if_missing(connection, name=name, plan=plan, daily_cap_usd=cap)
        else:
            tenant_id = tenants.add(
                connection, name=name, plan=plan, daily_cap_usd=cap, external_id=external_id, same_name=same_name
            )
    if as_json:
        print_json({"id": tenant_id, "added": added})
        return
    if not added:
        note(f"{name} is there already; its plan and its cap stay as they are")
    typer.echo(str(tenant_id))


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the tenants with the caps and weights in force."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = tenants.list_tenants(connection)
    if as_json:
        print_json({"tenants": [asdict(tenant) for tenant in found]})
        return
    print_table(
        ["id", "name", "external id", "plan", "daily cap USD", "weight", "paused", "created (UTC)"],
        [
            (
                one.id,
                one.name,
                one.external_id,
                one.plan,
                f"{one.daily_cost_cap_usd:f}",
                f"{one.weight:g}",
                one.paused,
                one.created_at,
            )
            for one in found
        ],
        spare=["created (UTC)", "weight", "external id"],
        numbers=["daily cap USD", "weight"],
    )


@app.command("set-weight", context_settings=_MAY_BE_NEGATIVE)
def set_weight_command(
    tenant: Annotated[str, typer.Argument(help="Its id, external id or name.")],
    weight: Annotated[str, typer.Argument(metavar="N|plan", help="Its share, or 'plan' for the plan's.")],
    as_json: Json = False,
) -> None:
    """Set a tenant's weight, from its next claim on, also for jobs that already wait. It is written to the audit."""
    given = None if weight == _PLANS_OWN else amounts.weight(weight, field="weight")
    with connect(Settings(), DATABASE) as services:
        after = set_weight(services.require_ops(), tenant, given)
    if as_json:
        print_json({"id": after.id, "weight": after.weight})
    else:
        say(f"{after.name}: weight {after.weight:g}")


def set_weight(ops_url: str, tenant: str, weight: Decimal | None) -> Tenant:
    """Set the weight (None: the plan's) in the name of the user of this command; returns the changed tenant."""
    with operator_session(ops_url) as connection:
        tenant_id: UUID = tenants.resolve(connection, tenant).id
        tenants.set_weight(connection, tenant_id, weight, actor=actor())
        return tenants.resolve(connection, str(tenant_id))
