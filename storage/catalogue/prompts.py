"""Prompts as kept: immutable versions, one pointer a name, a history of every move."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from errors import InvalidPromptError
from storage.db.connect import Connection
from storage.db.ids import new_id
from storage.db.reading import Unreadable
from storage.db.statements import sql


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One immutable version of a prompt; ``variables`` maps a name to its cap in characters."""

    id: UUID
    name: str
    version: int
    body: str
    variables: Mapping[str, int]
    output_schema: Mapping[str, Any] | None
    max_output_tokens: int
    min_output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing a file's text came to, in version numbers.

    ``version`` has the text of the file, ``active`` is active now, ``was`` was active before (None: there was none).
    """

    name: str
    version: int
    active: int
    was: int | None
    is_new: bool


def get(connection: Connection, prompt_id: UUID) -> PromptVersion | None:
    """One version by id, or None when this connection may not see it.

    Raises :class:`errors.InvalidPromptError` where its JSON cannot be held by Python.
    """
    row = connection.execute(sql("catalogue/prompts", "get"), [prompt_id]).fetchone()
    if row is None:
        return None
    for name, value in row.items():
        if isinstance(value, Unreadable):
            raise InvalidPromptError(value.why, field=name)
    return PromptVersion(**row)


def publish_default(
    connection: Connection,
    *,
    name: str,
    description: str,
    body: str,
    variables: Mapping[str, int],
    output_schema: Mapping[str, Any] | None,
    max_output_tokens: int,
    min_output_tokens: int | None,
    actor: str,
) -> Published:
    """Publish what the file of a default prompt says, and tell which version is active.

    A new text becomes a new version, and the active one. A text of before becomes active again when the file said
    another one at the last time; where the file did not change, a rollback stays.
    """
    content = json.dumps(
        [body, dict(variables), output_schema, max_output_tokens, min_output_tokens], sort_keys=True, ensure_ascii=False
    )
    row = connection.execute(
        sql("catalogue/prompts", "publish_default"),
        {
            "id": new_id(),
            "name": name,
            "description": description,
            "body": body,
            "variables": Jsonb(dict(variables)),
            "output_schema": None if output_schema is None else Jsonb(dict(output_schema)),
            "max_output_tokens": max_output_tokens,
            "min_output_tokens": min_output_tokens,
            "content_hash": hashlib.sha256(content.encode()).digest(),
            "actor": actor,
        },
    ).fetchone()
    assert row is not None, "the statement returns one row"
    return Published(name=name, **row)
