"""What is wrong with a prompt is told when it is published, not by each of its jobs."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from console.endpoints import Endpoints
from console.provisioning import Provisioned, provision
from errors import InvalidSchemaError, MigrationError
from router.policy import SHIPPED_POLICY
from settings import Settings
from tests.support.fleet import Urls

PROMPT = """---
name: coded
description: Answers with a code.
variables:
  message: {description: What the user wrote.}
max_output_tokens: 100
output_schema: {type: object, properties: {code: {pattern: "(?=a)b"}}}
---
## user
{{ message }}
"""
ECHO = """---
name: echo
description: Says it again.
variables:
  message: {{description: What to say.}}
max_output_tokens: 100
---
## user
{body}: {{{{ message }}}}
"""


def test_a_prompt_whose_schema_no_job_could_use_is_refused_before_the_database_is_asked(tmp_path: Path) -> None:
    (tmp_path / "coded.md").write_text(PROMPT)
    with pytest.raises(InvalidSchemaError, match="the prompt coded") as refused:
        provision("postgresql://nobody@127.0.0.1:9/nowhere", lanes={}, prompts_dir=tmp_path)
    assert refused.value.field == "output_schema.properties.code.pattern"


def test_what_is_published_is_told_and_a_text_of_before_becomes_active_again(urls: Urls, tmp_path: Path) -> None:
    """The file says which text is active; what an operator did to the pointer since then stays."""
    prompt, policy = tmp_path / "echo.md", tmp_path / "policy.yaml"
    policy.write_text(SHIPPED_POLICY.read_text("utf-8"), "utf-8")

    def publish(body: str, **lanes: int) -> Provisioned:
        prompt.write_text(ECHO.format(body=body))
        return provision(urls.owner, lanes=Settings().lane_weights | lanes, routing_policy=policy, prompts_dir=tmp_path)

    def told(body: str) -> tuple[int, int, int | None, bool]:
        (one,) = publish(body).prompts
        return one.version, one.active, one.was, one.is_new

    assert told("one") == (1, 1, None, True)
    assert told("one") == (1, 1, 1, False)
    assert told("two") == (2, 2, 1, True)
    assert told("one") == (1, 1, 2, False), "the file has the text of version 1 again"
    assert told("two") == (2, 2, 1, False)
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(
            "update headrace.prompt_pointers o set prompt_id = p.id from headrace.prompts p"
            " where o.name = 'echo' and p.name = 'echo' and p.version = 1"
        )
        assert told("two") == (2, 1, 1, False), "a restart does not undo a rollback"
        assert told("three") == (3, 3, 1, True)
        history = owner.execute(
            "select f.version, t.version, h.reason from headrace.prompt_history h"
            " left join headrace.prompts f on f.id = h.from_prompt_id join headrace.prompts t on t.id = h.to_prompt_id"
            " where h.name = 'echo' order by h.id"
        ).fetchall()
    assert history == [
        (None, 1, "published"), (1, 2, "published"), (2, 1, "published again"), (1, 2, "published again"),
        (1, 3, "published"),
    ]  # fmt: skip

    policy.write_text(
        policy.read_text("utf-8").replace("\nfeatures:\n", "\nfeatures:\n  telepathy: {description: New.}\n")
    )
    first, again = publish("three", bulk=3), publish("three", bulk=4)
    assert (first.features.added, first.features.retired) == (["telepathy"], [])
    assert (first.lanes.added, again.lanes.changed) == (["bulk"], {"bulk": (3, 4)})
    back = publish("three")
    assert (back.lanes.retired, back.features.added, back.prices) == (["bulk"], [], [])


def test_a_database_that_is_not_utf8_is_refused_kindly(services: Endpoints) -> None:
    owner = services.require_owner()
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
        try:
            with pytest.raises(MigrationError, match="whose encoding is UTF8") as refused:
                provision(owner.replace("/headrace?", "/latin?"), lanes={})
            assert refused.value.value == "LATIN1"
        finally:
            connection.execute("drop database latin with (force)")
