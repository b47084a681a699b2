"""What each SQLSTATE means to a caller: wait, try again, or give up. The one table; all rooms decide by it.

The class of a Python exception does not tell: a read-only server is psycopg's ``InternalError``, and a statement
that is too large is its ``OperationalError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import psycopg


class Meaning(Enum):
    """What a caller does about an error."""

    OUTAGE = "outage"
    """Neither our bug nor the data: Postgres, or the way to it, cannot do this now. Wait, and repeat for as long as the
    caller has patience. No job ends for it, and the silence of a worker in that time is not its death."""

    IN_THE_WAY = "in the way"
    """Another transaction holds what this one needs. Repeat; steps of several tenants are parted first."""

    STRAIN = "strain"
    """An outage, or the statement's own weight: Postgres does not say which. Repeat, but not for ever; steps that were
    done together are done one by one first."""

    REFUSAL = "refusal"
    """A function of ours said no, and means it."""

    FAULT = "fault"
    """Our bug, our grants or the data: the same statement would fail again. Raised typed, never repeated."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    ``prefix``: a class (two characters) or a code (five); the longer one wins. ``anew``: the connection is of no use
    any more, or leads to a server that is not the one that is wanted. It is closed, so that the pool makes another.
    """

    prefix: str
    meaning: Meaning
    why: str
    anew: bool = False


_OUTAGE, _STRAIN, _WAY, _FAULT = Meaning.OUTAGE, Meaning.STRAIN, Meaning.IN_THE_WAY, Meaning.FAULT

TABLE: Final = (
    Row("", _FAULT, "what is not named below (22 data, 23 constraints, 42 names and grants, 0A, 21, P0, …) is ours"),
    Row("HR", Meaning.REFUSAL, "raised by a function of ours"),
    # --------------------------------------------------------------------------------------------- the way to Postgres
    Row("08", _OUTAGE, "connection lost or refused; PgBouncer says all that it has to say as 08P01", anew=True),
    Row("28", _OUTAGE, "the login is refused, which only a connection that is being made meets", anew=True),
    Row("3D", _OUTAGE, "no such database, which only a connection that is being made meets", anew=True),
    # --------------------------------------------------------------------------------------------- transactions' state
    Row("25", _FAULT, "a statement that does not belong into this state of the transaction"),
    Row("25006", _OUTAGE, "read-only: a standby, a demoted primary, a full disk, an administrator", anew=True),
    Row("25P03", _OUTAGE, "idle in transaction for too long: this process was held up", anew=True),
    Row("25P04", _STRAIN, "transaction_timeout: a slow server, or a transaction with too much in it", anew=True),
    Row("26000", _STRAIN, "a prepared statement is gone: a pooler gave us another session", anew=True),
    Row("42P05", _STRAIN, "a prepared statement is there already: the same", anew=True),
    # ---------------------------------------------------------------------------------------------- other transactions
    Row("40", _WAY, "serialisation failure, deadlock, a standby's conflict: rolled back, to be done again"),
    Row("40002", _FAULT, "a constraint failed at the commit"),
    Row("40003", _OUTAGE, "it is not known whether the statement was done", anew=True),
    Row("55P03", _WAY, "lock_timeout, ours or an administrator's"),
    Row("55", _FAULT, "an object that is not in the state for it"),
    # ------------------------------------------------------------------------------------------------------ the server
    Row("53", _OUTAGE, "out of connections (53300), disk (53100) or another resource"),
    Row("53200", _STRAIN, "out of memory: the server's, or this statement asks for too much"),
    Row("53400", _STRAIN, "a configured limit: temp_file_limit, of this statement"),
    Row("54", _FAULT, "larger than Postgres takes: 256 MB of jsonb, 1 GB of a value, too deep, too complex"),
    Row("57", _OUTAGE, "shutdown (57P01), crash (57P02), start (57P03), idle_session_timeout (57P05)", anew=True),
    Row("57014", _STRAIN, "cancelled: statement_timeout or an administrator; a slow server, or this statement is slow"),
    Row("58", _OUTAGE, "the system below Postgres: an I/O error, a file that is missing", anew=True),
    Row("F0", _OUTAGE, "the server's configuration file"),
    Row("XX", _STRAIN, "internal: a schema that changes just now, a damaged page, a bug of theirs", anew=True),
)  # fmt: skip

_BY_PREFIX: Final = {row.prefix: row for row in TABLE}
_LOST: Final = Row("none", _OUTAGE, "the connection could not be made, or was lost", anew=True)
_OF_THE_CLIENT: Final = Row("none", _FAULT, "psycopg itself cannot send this or read that")
_OLD_PLAN: Final = Row("0A000", _STRAIN, "a cached plan from before a migration: a new connection has none", anew=True)
_PLAN_CACHE: Final = "RevalidateCachedQuery"  # where in Postgres's source; its message is translated, this is not


def reading(error: psycopg.Error) -> Row:
    """The line of the table for an error."""
    code = error.sqlstate
    if code is None:
        # No answer of a server. What could not be connected carries no SQLSTATE either, whatever the server said.
        return _LOST if isinstance(error, psycopg.OperationalError) else _OF_THE_CLIENT
    if code == _OLD_PLAN.prefix and error.diag.source_function == _PLAN_CACHE:
        return _OLD_PLAN
    return _BY_PREFIX.get(code) or _BY_PREFIX.get(code[:2]) or _BY_PREFIX[""]


def meaning(error: psycopg.Error) -> Meaning:
    """What an error means."""
    return reading(error).meaning
