"""What belongs to the whole deployment: its key for users' pseudonyms."""

from __future__ import annotations

from errors import MigrationError
from storage.db.connect import Connection
from storage.db.statements import sql


def pseudonym_key(connection: Connection) -> bytes:
    """The key of users' pseudonyms, made when the database was; the same in every process.

    :raises MigrationError: it is gone, and another one would give every user another pseudonym.
    """
    row = connection.execute(sql("catalogue/deployment", "pseudonym_key")).fetchone()
    if row is None:
        raise MigrationError(
            "the deployment's key is missing: headrace.deployment has no row",
            hint="Restore that row from a backup.",
        )
    return bytes(row["pseudonym_key"])
