"""Is the answer what was asked for? Text as it came, JSON held against its schema."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import OutputInvalidError, RetryableError
from router.providers.calls import CallReply, Finish, Usage
from workers.answers import read_answer

KEPT = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "size": {"type": "integer", "minimum": 1}},
    "required": ["name"],
    "additionalProperties": False,
}


def reply(text: str, finish: Finish = "complete") -> CallReply:
    return CallReply(text, Usage(1, 0, 0, 1, 0), "model", None, finish)


@settings(deadline=None)
@given(st.text(st.characters()))
def test_text_comes_back_as_it_is_but_for_what_cannot_be_kept(text: str) -> None:
    output, value = read_answer(reply(text), None)
    assert value is None
    assert "\x00" not in output
    assert output == re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\x00", ""))
    output.encode()


@settings(deadline=None)
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(KEPT), lambda inner: st.lists(inner, max_size=3))
)
def test_json_comes_back_as_the_value_that_it_is(value: Any) -> None:
    assert read_answer(reply(json.dumps(value)), {})[1] == value


def test_a_value_that_matches_is_read() -> None:
    text = '{"name": "wheel", "size": 3}'
    assert read_answer(reply(text), SCHEMA) == (text, {"name": "wheel", "size": 3})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no JSON"),
        ("Sure! Here it is: {}", "is no JSON"),
        ('```json\n{"name": "a"}\n```\nor\n```\n{"name": "b"}\n```', "is no JSON"),
        ('{"name": "a", "size": 1e999}', "1e999 is beyond the range of numbers"),
        ('{"name": "a", "size": -1e999}', "-1e999 is beyond the range of numbers"),
        ('{"name": "a", "size": ' + "9" * 5_000 + "}", "is no JSON"),
        ('{"name": ' + "[" * 500 + "]" * 500 + "}", "nested deeper than 64 levels"),
        ('{"name": NaN}', "NaN is no JSON number"),
        ('{"name": "a", "size": -Infinity}', "-Infinity is no JSON number"),
        ("[" * 100_000, "is no JSON"),
        ("{}", "at the whole: 'name' is a required property"),
        ("[]", "at the whole: must be of type object, but is an array"),
        ('{"name": "a", "size": 0}', "at size: is less than the minimum of 1"),
        ('{"name": "a", "more": 1}', "at the whole: the property 'more' is not allowed"),
    ],
)
def test_what_does_not_match_is_an_invalid_output_that_may_be_asked_for_again(text: str, says: str) -> None:
    with pytest.raises(OutputInvalidError, match="answer") as invalid:
        read_answer(reply(text), SCHEMA)
    assert says in str(invalid.value)
    assert isinstance(invalid.value, RetryableError)
    assert invalid.value.details == {"finish": "complete"}


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"name": "a"}\n```',
        'Here it is:\r\n```JSON\n{"name":\n "a"}\n```\nAnything else?',
        '  ```\n{"name": "a"}\n  ```  \n',
    ],
)
def test_one_fenced_value_is_the_value(text: str) -> None:
    output, value = read_answer(reply(text), SCHEMA)

    assert value == {"name": "a"}
    assert json.loads(output) == value


@pytest.mark.parametrize(
    ("escaped", "kept"),
    [
        (r"wheel\u0000s", "wheels"),
        (r"\ud83d wheel", "\ufffd wheel"),
        (r"\ud83c\udf0a", "\U0001f30a"),
        (r"a\\u0000", r"a\u0000"),
    ],
)
def test_what_jsonb_cannot_hold_is_taken_out_of_a_value(escaped: str, kept: str) -> None:
    assert read_answer(reply(f'{{"name": "{escaped}"}}'), SCHEMA)[1] == {"name": kept}


def test_an_answer_that_was_cut_says_so() -> None:
    with pytest.raises(OutputInvalidError, match="cut at max_output_tokens"):
        read_answer(reply('{"name": "whe', "length"), SCHEMA)


def test_a_refusal_is_an_answer_of_its_own() -> None:
    assert read_answer(reply("I cannot help with that.", "refusal"), SCHEMA) == ("I cannot help with that.", None)
