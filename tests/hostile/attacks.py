"""What a hostile tenant does with what every tenant may do: enqueue, from Python and from SQL.

Each attack is one function that is called again and again while it is played. Whatever is refused is refused; what gets
in is the worker's, the scheduler's and the database's to bear.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from errors import HeadraceError
from producers import Client

_JSON = ("variables", "messages", "context", "output_schema", "metadata")
_REDOS: Final = ("^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(x+x+)+y", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){20}", "^(a*)*b$")


@dataclass(slots=True)
class Attacker:
    """Tenant A: its ways in, and where its own server listens."""

    tenant_id: UUID
    client: Client
    producer: psycopg.Connection[Any]  # as headrace_producer
    server_url: str
    dice: random.Random
    counts: dict[str, int] = field(default_factory=lambda: {"in": 0, "refused": 0})

    def by_sql(self, text: str = "Hello", **fields: Any) -> None:
        """``headrace.enqueue`` with JSON exactly as it is written here; None: all is said in ``fields``."""
        message = json.dumps([{"role": "user", "content": text}])
        given = {"tenant_id": self.tenant_id, "user_id": "mallory", "feature": "chat", "messages": message} | fields
        call = sql.SQL("select headrace.enqueue({})").format(
            sql.SQL(", ").join(
                sql.SQL("{} => {}{}").format(
                    sql.Identifier(name), sql.Placeholder(name), sql.SQL("::jsonb" if name in _JSON else "")
                )
                for name in given
            )
        )
        try:
            self.producer.execute(call, given)
            self.counts["in"] += 1
        except psycopg.Error:
            self.counts["refused"] += 1

    def by_python(self, requests: list[dict[str, Any]]) -> None:
        """``enqueue_many``."""
        common = {"tenant_id": self.tenant_id, "user_id": "mallory", "feature": "chat"}
        message = {"messages": [{"role": "user", "content": "Hello"}]}
        try:
            batch = self.client.enqueue_many([common | message | one for one in requests])
        except HeadraceError:
            self.counts["refused"] += len(requests)
            return
        self.counts["in"] += sum(one is not None for one in batch.job_ids)
        self.counts["refused"] += len(batch.refused)


@dataclass(frozen=True, slots=True)
class Attack:
    """One thing to do, every ``every_s`` seconds."""

    do: Callable[[Attacker], None]
    every_s: float = 0.1


def _odd(*names: str) -> Callable[[Attacker], None]:
    """Ask the provider for one of the oddities."""
    return lambda a: a.by_sql(f"ODD:{a.dice.choice(names)}")


def _checked_against(schema: Callable[[Attacker], Any], *answers: str) -> Callable[[Attacker], None]:
    def do(a: Attacker) -> None:
        a.by_sql(f"ODD:{a.dice.choice(answers)}", output_schema=json.dumps(schema(a)))

    return do


def _doubled(a: Attacker) -> dict[str, Any]:
    word = a.dice.choice(("allOf", "anyOf", "oneOf"))
    definitions: dict[str, Any] = {f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    return {"$defs": definitions | {"d40": {"type": "string"}}, "$ref": "#/$defs/d0"}


def _pattern(a: Attacker) -> dict[str, Any]:
    pattern = a.dice.choice(_REDOS)
    if a.dice.random() < 0.5:
        return {"type": "string", "pattern": pattern}
    return {"patternProperties": {pattern: {"type": "integer"}}}


def _fetching(a: Attacker) -> dict[str, Any]:
    draft = a.dice.choice(("draft-03", "draft-04", "draft-06", "draft-07"))
    inner = {"id": f"{a.server_url}/schema.json", "$ref": "other.json"}
    return {"$schema": f"http://json-schema.org/{draft}/schema#", "unknown": {"x": inner}, "properties": {"n": inner}}


def _unique(_: Attacker) -> dict[str, Any]:
    return {"type": "array", "uniqueItems": True}


def _enum(_: Attacker) -> dict[str, Any]:
    return {"enum": [{"n": n} for n in range(5_000)]}


def _large(_: Attacker) -> dict[str, Any]:
    return {"properties": {f"property_{n}": {"type": "string", "maxLength": n} for n in range(8_000)}}


def _refused_late(a: Attacker) -> None:
    """A schema whose last word is wrong, never the same one, in a job that says it is worth one token."""
    parts: list[Any] = [{"enum": [1, 2, "a", n]} for n in range(9_000)]
    a.by_sql(output_schema=json.dumps({"$comment": str(uuid4()), "anyOf": [*parts, 1]}), estimated_tokens=1)


def _metadata(a: Attacker) -> None:
    a.by_sql(metadata=a.dice.choice(('{"n": 1e5000}', '{"n": ' + "9" * 5_000 + "}", '{"n": -1e5000, "m": [1e4000]}')))


def _deep(a: Attacker) -> None:
    where = a.dice.choice(("metadata", "context"))
    a.by_sql(**{where: '{"a": ' * 400 + "1" + "}" * 400})


def _times(a: Attacker) -> None:
    far = a.dice.choice(("infinity", "-infinity", "294276-01-01", "10000-01-01", "4713-01-01 BC"))
    a.by_sql(**{a.dice.choice(("run_at", "deadline")): far})


def _marks(a: Attacker) -> None:
    a.by_sql("a" + "\u0300\u0316" * 40_000)


def _user_ids(a: Attacker) -> None:
    a.by_sql(
        user_id=a.dice.choice(("mallory ", " ", "\u00a0", "mal\u0000lory".replace("\x00", ""), "m" * 200, "\u202e"))
    )


def _ids(a: Attacker) -> None:
    future = f"{0xFFFF_FFFF_FFFF - a.dice.randrange(10**6):012x}"
    a.by_sql(id=a.dice.choice((UUID(f"{future[:8]}-{future[8:]}-7000-8000-{a.dice.randrange(2**48):012x}"), uuid4())))


def _short_deadlines(a: Attacker) -> None:
    a.by_python([{"deadline": datetime.now(UTC) + timedelta(seconds=0.25)}] * 4)


def _past_one_deadline(a: Attacker) -> None:
    a.by_python([{"deadline": datetime.now(UTC) + timedelta(seconds=2)}] * 500)


def _due_at_once(a: Attacker) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1)
    a.by_python([{"run_at": at.replace(microsecond=0)}] * 500)


def _flood(a: Attacker) -> None:
    a.by_python([{"user_id": f"user {a.dice.randrange(3_000)}"} for _ in range(200)])


def _over_budget(a: Attacker) -> None:
    a.by_python([{"on_over_budget": "wait", "force_tier": "strong", "max_output_tokens": 100_000}] * 20)


def _capped(a: Attacker) -> None:
    a.by_python([{"feature": "support_reply"}] * 300)


ATTACKS: Final[dict[str, Attack]] = {
    "schema_references": Attack(_checked_against(_doubled, "forty_a")),
    "schema_patterns": Attack(_checked_against(_pattern, "forty_a")),
    "schema_fetches": Attack(_checked_against(_fetching, "forty_a")),
    "schema_unique": Attack(_checked_against(_unique, "objects")),
    "schema_enum": Attack(_checked_against(_enum, "objects", "forty_a")),
    "schema_large": Attack(_checked_against(_large, "forty_a"), every_s=0.5),
    "schema_refused_late": Attack(_refused_late),
    "endless_answers": Attack(_odd("endless", "gzip_bomb"), every_s=0.5),
    "long_answers": Attack(_odd("long_text"), every_s=0.5),
    "absurd_usage": Attack(
        _odd("cached_above_input", "tokens_3e9", "tokens_1e8", "tokens_of_5000_digits", "tokens_null", "no_usage")
    ),
    "deep_answers": Attack(_odd("deep_500", "deep_10000", "deep_body")),
    "deep_json": Attack(_checked_against(lambda _: {}, "deep_500", "deep_10000")),
    "odd_numbers": Attack(_checked_against(lambda _: {}, "long_number", "endless_number", "not_a_number")),
    "retry_after": Attack(_odd("retry_after_1e13", "retry_after_time")),
    "nonsense": Attack(_odd("nonsense")),
    "hanging_calls": Attack(_odd("hang"), every_s=0.5),
    "metadata_numbers": Attack(_metadata),
    "deep_input": Attack(_deep),
    "odd_times": Attack(_times),
    "combining_marks": Attack(_marks, every_s=0.5),
    "odd_user_ids": Attack(_user_ids),
    "odd_ids": Attack(_ids),
    "short_deadlines": Attack(_short_deadlines),
    "past_one_deadline": Attack(_past_one_deadline, every_s=0.5),
    "due_at_once": Attack(_due_at_once, every_s=0.5),
    "flood": Attack(_flood, every_s=0.5),
    "over_budget": Attack(_over_budget, every_s=0.5),
    "capped_feature": Attack(_capped, every_s=0.5),
}
