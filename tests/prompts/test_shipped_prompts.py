from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from prompts.front_matter import PromptFile, load_prompts
from prompts.render import render

SHIPPED = {prompt.name: prompt for prompt in load_prompts(None)}


def test_the_shipped_prompts_are_these() -> None:
    assert {name: set(prompt.variables) for name, prompt in SHIPPED.items()} == {
        "chat": {"message"},
        "code_review": {"diff"},
        "legal_summary": {"clause", "jurisdiction"},
        "report": {"period", "facts"},
        "sql_generation": {"question", "schema"},
        "support_reply": {"ticket", "customer", "product"},
    }


@pytest.mark.parametrize("prompt", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_prompt_keeps_its_data_out_of_the_system_message(prompt: PromptFile) -> None:
    marks = {name: f"@@{name}@@" for name in prompt.variables}
    system, user = render(prompt.body, marks)

    assert (system.role, user.role) == ("system", "user")
    assert not [mark for mark in marks.values() if mark in system.content]
    assert [mark for mark in marks.values() if mark in user.content] == list(marks.values())


@pytest.mark.parametrize("name", sorted(SHIPPED.keys() - {"chat"}))
def test_the_main_text_is_delimited_and_the_system_message_says_so(name: str) -> None:
    prompt = SHIPPED[name]
    longest = max(prompt.variables, key=lambda variable: prompt.variables[variable].max_chars)
    system, user = render(prompt.body, dict.fromkeys(prompt.variables, "…"))

    assert f"<{longest}>\n…\n</{longest}>" in user.content
    assert f"<{longest}>" in system.content


@pytest.mark.parametrize("name", [name for name, prompt in SHIPPED.items() if prompt.output_schema])
def test_schemas_are_closed_and_require_every_key(name: str) -> None:
    schema = SHIPPED[name].output_schema
    assert schema is not None
    assert schema["additionalProperties"] is False
    assert sorted(schema["required"]) == sorted(schema["properties"])
    json.dumps(schema)


def test_the_support_reply_schema_holds_the_two_enums() -> None:
    schema = SHIPPED["support_reply"].output_schema
    assert schema is not None
    judge = Draft202012Validator(schema)
    answer = {"category": "how_to", "priority": "low", "summary": "Asks for a shortcut.", "reply": "Hello …"}

    judge.validate(answer)
    for field, value in [("category", "spam"), ("priority", "asap"), ("reply", None)]:
        with pytest.raises(ValidationError):
            judge.validate(answer | {field: value})
