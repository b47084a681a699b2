"""The shipped prompts on the example data get answers that fit, are whole, and differ."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from prompts.front_matter import load_prompts
from prompts.render import render
from simulator.answers.answers import answer
from simulator.protocol.openai_wire import OpenAIWire
from simulator.protocol.tokens import count

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "console" / "demo" / "data"


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return {prompt.name: prompt for prompt in load_prompts(ROOT / "prompts")}


def examples(name: str) -> list[dict]:
    return [json.loads(line) for line in (EXAMPLES / name).read_text().splitlines()]


def answered(prompt: Any, **variables: str) -> str:
    body: dict[str, Any] = {
        "model": "gpt-5.4-mini",
        "input": [{"role": part.role, "content": part.content} for part in render(prompt.body, variables)],
    }
    if prompt.output_schema is not None:
        body["text"] = {"format": {"type": "json_schema", "name": "output", "schema": prompt.output_schema}}
    return answer(OpenAIWire().read(json.dumps(body).encode()))


def test_every_ticket_gets_a_valid_reply_of_its_own(shipped):
    prompt = shipped["support_reply"]
    replies = []
    for item in examples("support_tickets.jsonl"):
        text = answered(prompt, ticket=item["ticket"], customer=item["customer"], product=item["product"])
        assert count([text])[0] <= prompt.max_output_tokens
        value = json.loads(text)
        Draft202012Validator(prompt.output_schema).validate(value)
        replies.append(value)

    categories = Counter(value["category"] for value in replies)
    assert set(categories) == {"billing", "bug", "how_to", "account", "feature_request", "outage"}
    assert len({value["priority"] for value in replies}) == 4
    assert len({value["summary"] for value in replies}) > 130


def test_a_reply_is_in_the_language_of_the_ticket(shipped):
    ask = {"customer": "Jo Berg", "product": "Inbox"}
    german = answered(shipped["support_reply"], ticket="Guten Tag, wie kann ich die Rechnung ändern? Danke.", **ask)
    french = answered(shipped["support_reply"], ticket="Bonjour, je ne peux pas ouvrir la facture. Merci.", **ask)

    assert json.loads(german)["reply"].startswith("Guten Tag Jo Berg")
    assert json.loads(french)["reply"].startswith("Bonjour Jo Berg")
    assert "German" in json.loads(german)["summary"]


def test_every_clause_is_summarised_under_the_headings_that_the_prompt_asks_for(shipped):
    prompt = shipped["legal_summary"]
    summaries = set()
    for item in examples("contract_clauses.jsonl"):
        text = answered(prompt, clause=item["clause"], jurisdiction=item["jurisdiction"])
        assert [line for line in text.splitlines() if line.startswith("#")] == [
            "### Obligations",
            "### Risks",
            "### Dates",
        ]
        assert count([text])[0] <= prompt.max_output_tokens
        summaries.add(text)

    assert len(summaries) == 60


def test_every_question_about_data_gets_a_query_and_an_explanation(shipped):
    prompt = shipped["sql_generation"]
    schemas = json.loads((EXAMPLES / "sql_schemas.json").read_text())
    for item in examples("sql_questions.jsonl"):
        value = json.loads(answered(prompt, question=item["question"], schema=schemas[item["schema"]]))
        Draft202012Validator(prompt.output_schema).validate(value)
        assert value["sql"].startswith("SELECT ") or value["sql"] == ""
        assert value["explanation"]


def test_a_diff_that_looks_like_tables_is_still_a_diff(shipped):
    text = answered(shipped["code_review"], diff="+CREATE TABLE a (id int, b int);\n+print(id, b)  # a query")

    assert "SELECT" not in text


def test_a_message_is_answered_from_what_it_says(shipped):
    text = answered(
        shipped["chat"], message="Our shop opens at nine. It is closed on Mondays. When does the shop open?"
    )

    assert "opens at nine" in text
