"""Requests for jobs, good and bad ones, and the SQL door."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from errors import (
    DeadlinePassedError,
    ExtraVariableError,
    HeadraceError,
    InvalidInputError,
    InvalidSchemaError,
    MissingVariableError,
    TooLongError,
    UnknownFeatureError,
    UnknownLaneError,
    UnknownPromptError,
    by_code,
)
from producers.requests import MAX_INPUT_BYTES
from storage.db.database import Database
from storage.jobs import jobs

MESSAGES = [{"role": "user", "content": "Hello"}]
CHAT: dict[str, Any] = {"user_id": "u-1", "feature": "chat", "messages": MESSAGES}
PROMPT: dict[str, Any] = {"user_id": "u-1", "feature": "chat", "prompt": "chat", "variables": {"message": "Hello"}}
JSON_FIELDS = ("variables", "messages", "context", "output_schema", "metadata")
NOBODY = UUID("0198c3f0-0000-7000-8000-000000000000")


def enqueue_by_sql(connection: psycopg.Connection[Any], **fields: Any) -> UUID:
    """``select headrace.enqueue(name => value, …)``, with its refusals as typed errors."""
    given = {name: Jsonb(value) if name in JSON_FIELDS else value for name, value in fields.items()}
    call = sql.SQL("select headrace.enqueue({})").format(
        sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in given)
    )
    try:
        row = connection.execute(call, given).fetchone()
    except psycopg.Error as error:
        if error.sqlstate != jobs.REFUSED_SQLSTATE:
            raise
        raise _typed(error) from error
    assert row is not None
    return UUID(str(row[0]))


def _typed(error: psycopg.Error) -> HeadraceError:
    facts = json.loads(error.diag.message_detail or "{}")
    assert f"headrace.enqueue: {facts['field']}: {facts['message']}" == error.diag.message_primary
    return by_code(facts["code"])(
        facts["message"], field=facts["field"], value=facts.get("value"), length=facts.get("length")
    )


def count(ops: Database, table: str = "jobs") -> int:
    with ops.connection() as connection:
        row = connection.execute(
            sql.SQL("select count(*)::integer as n from headrace.{}").format(sql.Identifier(table))
        ).fetchone()
    assert row is not None
    return int(row["n"])


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


LONG = [{"role": "user", "content": "x" * MAX_INPUT_BYTES}]
BAD: list[tuple[dict[str, Any], type[HeadraceError], str, Any]] = [
    ({**PROMPT, "prompt": "nope"}, UnknownPromptError, "prompt", "nope"),
    ({**CHAT, "feature": "nope"}, UnknownFeatureError, "feature", "nope"),
    ({**CHAT, "lane": "nope"}, UnknownLaneError, "lane", "nope"),
    ({**PROMPT, "variables": {}}, MissingVariableError, "variables.message", None),
    (without(PROMPT, "variables"), MissingVariableError, "variables.message", None),
    ({**PROMPT, "variables": {"message": "a", "tone": "dry"}}, ExtraVariableError, "variables.tone", "dry"),
    ({**CHAT, "variables": {"a": "b"}}, ExtraVariableError, "variables", {"a": "b"}),
    ({**PROMPT, "variables": {"message": 5}}, InvalidInputError, "variables.message", 5),
    ({**PROMPT, "variables": {"message": "x" * 20_001}}, TooLongError, "variables.message", "20001 characters"),
    ({**CHAT, "messages": LONG}, TooLongError, "messages", f"{len(json.dumps(LONG))} bytes"),
    # the feature's own cap, in characters: of all messages together
    ({**CHAT, "messages": [{"role": "user", "content": "x" * 200_001}]}, TooLongError, "messages", "200001 characters"),
    (
        {**CHAT, "messages": [{"role": "user", "content": "x" * 50_001}] * 4},
        TooLongError,
        "messages",
        "200004 characters",
    ),
    ({**CHAT, "metadata": {"a": "x" * 16_384}}, TooLongError, "metadata", "16393 bytes"),
    ({**CHAT, "output_schema": "text"}, InvalidSchemaError, "output_schema", "text"),
    ({**CHAT, "deadline": "2020-01-01T00:00:00+00:00"}, DeadlinePassedError, "deadline", "2020-01-01T00:00:00+00:00"),
    ({**PROMPT, "messages": MESSAGES}, InvalidInputError, "prompt", "chat"),
    (without(CHAT, "messages"), InvalidInputError, "prompt", None),
    ({**CHAT, "messages": [{"role": "robot", "content": "Hi"}]}, InvalidInputError, "messages[0].role", "robot"),
    ({**CHAT, "messages": [{"role": "user", "content": ""}]}, InvalidInputError, "messages[0].content", ""),
    ({**CHAT, "messages": [*MESSAGES, {"role": "user"}]}, InvalidInputError, "messages[1].content", None),
    ({**CHAT, "messages": [{"role": "system", "content": "Hi"}]}, InvalidInputError, "messages", None),
    ({**CHAT, "user_id": "u" * 201}, InvalidInputError, "user_id", "u" * 200),
    ({**CHAT, "user_id": ""}, InvalidInputError, "user_id", ""),
    ({**CHAT, "max_output_tokens": 5}, InvalidInputError, "max_output_tokens", 5),
    ({**CHAT, "idempotency_key": ""}, InvalidInputError, "idempotency_key", ""),
    ({**CHAT, "on_over_budget": "maybe"}, InvalidInputError, "on_over_budget", "maybe"),
    ({**CHAT, "on_unknown": "maybe"}, InvalidInputError, "on_unknown", "maybe"),
    ({**CHAT, "force_tier": "golden"}, InvalidInputError, "force_tier", "golden"),
    ({**CHAT, "metadata": ["a"]}, InvalidInputError, "metadata", ["a"]),
]
