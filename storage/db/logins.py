"""Whether a login is what it should be: a member of the one role of ours that its process needs, and of nothing else.

A worker that logs in as an operator works, and sees every tenant: no error would ever show. So every process asks
before it begins, and ``headrace doctor`` names the membership that is too much.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql as composed

from errors import UnsafeRoleError
from storage.db.connect import Connection
from storage.db.statements import sql

OURS = frozenset({"headrace_owner", "headrace_app", "headrace_ops", "headrace_producer"})

#: Roles of Postgres itself that read, write, lock or run what no policy of ours bounds.
_OF_THE_SERVER = frozenset(
    {
        "pg_read_all_data", "pg_write_all_data", "pg_maintain", "pg_execute_server_program", "pg_read_server_files",
        "pg_write_server_files",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A session that has done nothing yet: who logged in, the role in force, the tenant that is set already."""

    login: str
    role: str
    tenant: str
    is_member: bool


@dataclass(frozen=True, slots=True)
class Excess:
    """Something that a login should not be or have: what it is, and what an administrator does about it."""

    says: str
    to_do: str


def excess(connection: Connection, *, role: str) -> list[Excess]:
    """What is wrong with this session's login for a process that should be a member of ``role`` and of nothing else."""
    row = session(connection, role)
    found = [one for reached in reach(connection) if (one := _too_much(*reached, role=role)) is not None]
    if not found and not row.is_member:
        says = f"the login {row.login} is not a member of {role}"
        found.append(Excess(says, f"Grant it: grant {role} to {row.login};"))
    if row.tenant:
        says = f"each session of the login {row.login} begins with a tenant (app.tenant_id)"
        found.append(Excess(says, f"Take it away: alter role {row.login} reset app.tenant_id; and look at the URL."))
    if role == "headrace_app" and not found:
        found += unbound(connection)
    return found


def refuse_unsafe_role(
    connection: Connection, *, setting: str = "HEADRACE_DATABASE_URL", role: str = "headrace_app"
) -> None:
    """Raise :class:`errors.UnsafeRoleError` unless the login is a member of ``role`` and of nothing else of ours.

    ``setting`` is where its URL comes from.
    """
    found = excess(connection, role=role)
    if found:
        raise UnsafeRoleError(
            "; ".join(one.says for one in found), field=setting, hint=f"Connect as {role}. {found[0].to_do}"
        )


def session(connection: Connection, role: str) -> LoginSession:
    """What is in force in this session."""
    row = connection.execute(sql("db/logins", "session"), {"role": role}).fetchone()
    assert row is not None, "a select without a table returns a row"
    return LoginSession(**row)


def reach(connection: Connection) -> list[tuple[str, list[str], str | None]]:
    """Every role that the login is or can become: its name, the way there, and why it has too many rights (or None)."""
    rows = connection.execute(sql("db/logins", "reach")).fetchall()
    return [(row["role"], row["via"], _rights(row["role"], **row)) for row in rows]


def _rights(name: str, *, superuser: bool, bypasses: bool, owner: bool, **_: object) -> str | None:
    if superuser:
        return "is a superuser"
    if bypasses:
        return "has BYPASSRLS"
    if owner or name == "headrace_owner":
        return "owns tables of Headrace"
    return "is a role of the server that no policy binds" if name in _OF_THE_SERVER else None


def _too_much(name: str, via: list[str], rights: str | None, *, role: str) -> Excess | None:
    if rights is None and (name not in OURS or name == role):
        return None
    because = "" if rights is None else f", which {rights}"
    if len(via) == 1:
        says = f"the role {name} {rights}" if rights else f"it logs in as {name}, not as {role}"
        return Excess(f"{says}: row-level security would not hold", f"Log in as {role}, or as a plain member of it.")
    says = f"the login {via[0]} can become {name}{because} (by {' → '.join(via)})"
    return Excess(says, f"Take it away: revoke {via[1]} from {via[0]};")


def unbound(connection: Connection) -> list[Excess]:
    """With no tenant set, a table of which this role sees a row or is not bound by row security."""
    found: list[Excess] = []
    for row in connection.execute(sql("db/logins", "unbound")).fetchall():
        look = composed.SQL("select exists (select from headrace.{}) as there").format(composed.Identifier(row["name"]))
        try:
            seen = connection.execute(look).fetchone()
        except psycopg.errors.InsufficientPrivilege as error:  # row_security = off makes an error of what it would hide
            says = f"headrace.{row['name']} cannot be read: {str(error).splitlines()[0]}"
            return [*found, Excess(says, "Leave row_security on, in the URL and for the role.")]
        if not row["bound"] or (seen is not None and seen["there"]):
            says = f"with no tenant set, rows of headrace.{row['name']} are seen"
            found.append(Excess(says, "Run `headrace migrate`; look at who changed the table's policies."))
    return found
