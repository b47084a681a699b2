"""``headrace producers``: the tenants for which a login may enqueue by SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from console.actor import actor
from console.connect import DATABASE, connect
from console.terminal.output import Json, note, print_json, print_table, say
from errors import InvalidInputError
from settings import Settings
from storage.catalogue import producers, tenants
from storage.db.session import operator_session

app = typer.Typer(help="Bind database logins that enqueue by SQL to tenants.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(help="The login, as the server knows it.", metavar="LOGIN")]
OfTenant = Annotated[str, typer.Option("--tenant", help="The tenant's id, external id or name.")]


@app.command("bind")
def bind_command(login: Login, tenant: OfTenant, as_json: Json = False) -> None:
    """Allow a login to enqueue for this tenant. It may not enqueue for a tenant to which it is not bound. Written to
    the audit.
    """
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = tenants.resolve(connection, tenant)
        changed = producers.bind(connection, login, found.id, actor=actor())
        exists = any(one.login == login and one.exists for one in producers.list_producers(connection))
    if not exists:
        # A login may be bound before it is made. A mistyped name leaves the real login free to enqueue for every
        # tenant.
        note(f"warning: the server has no login {login} yet: the binding holds once there is one")
    if as_json:
        print_json({"login": login, "tenant_id": found.id, "changed": changed})
    else:
        say(f"{login} is bound to {found.name}" if changed else f"{login} was bound to {found.name} already")


@app.command("unbind")
def unbind_command(
    login: Login,
    tenant: OfTenant,
    last: Annotated[
        bool, typer.Option("--last", help="Remove the last binding too. The login may then enqueue for every tenant.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove a login's binding to a tenant. It is written to the audit."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = tenants.resolve(connection, tenant)
        changed = producers.unbind(connection, login, found.id, last=last, actor=actor())
        is_bound = any(one.login == login and one.tenant_id == found.id for one in producers.list_producers(connection))
    if is_bound:
        raise InvalidInputError(
            "is bound to this tenant alone; without it, it may enqueue for every tenant",
            field="login",
            value=login,
            hint="Bind it to another tenant first, or say --last.",
        )
    if as_json:
        print_json({"login": login, "tenant_id": found.id, "changed": changed})
    else:
        say(f"{login} is not bound to {found.name} {'any more' if changed else '(it was not)'}")


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the logins that are bound, with their tenants."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = producers.list_producers(connection)
    if as_json:
        print_json({"bindings": [asdict(one) for one in found]})
        return
    print_table(
        ["login", "tenant", "id", "since (UTC)", "exists"],
        [(one.login, one.tenant, one.tenant_id, one.created_at, one.exists) for one in found],
        spare=["since (UTC)"],
    )
