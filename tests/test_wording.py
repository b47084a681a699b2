"""What pydantic finds is told in this project's words, whatever it finds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic_core._pydantic_core import list_all_errors

from errors import ConfigurationError
from settings import Settings
from wording import describe, of_settings, without_foreign_words

THEIRS = re.compile(r"Input should|Value should|required|a valid |instance of|permitted|pydantic|after validation")


@pytest.mark.parametrize("found", list_all_errors(), ids=lambda found: found["type"])
def test_every_kind_of_finding_has_words_of_ours(found: dict[str, Any]) -> None:
    context = found["example_context"] or {}
    told = describe(
        {"type": found["type"], "msg": "Value error, needs one", "ctx": context, "input": "x", "loc": ("a",)}
    )

    if found["type"] in ("value_error", "assertion_error"):
        assert told == "needs one"
    else:
        assert not THEIRS.search(told)
        assert told[0].islower() and "{" not in told


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HEADRACE_MAX_ATTEMPTS", "0", "HEADRACE_MAX_ATTEMPTS: must be 1 or more (got '0')"),
        ("HEADRACE_MAX_ATTEMPTS", "many", "HEADRACE_MAX_ATTEMPTS: must be a whole number (got 'many')"),
        ("HEADRACE_CALL_TIMEOUT_S", "long", "HEADRACE_CALL_TIMEOUT_S: must be a number (got 'long')"),
        ("HEADRACE_CALL_TAGS", "perhaps", "HEADRACE_CALL_TAGS: must be true or false (got 'perhaps')"),
        ("HEADRACE_LANE_WEIGHTS", "much", "HEADRACE_LANE_WEIGHTS: is not valid JSON"),
        (
            "HEADRACE_LANE_WEIGHTS",
            "{}",
            "HEADRACE_LANE_WEIGHTS: needs at least one lane, each with a weight of 1 or more",
        ),
    ],
)
def test_a_setting_is_named_as_it_is_set(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError) as raised:
        Settings()

    error = of_settings(raised.value)

    assert isinstance(error, ConfigurationError)
    assert str(error).startswith(says)
    assert not THEIRS.search(str(error).replace("is not valid JSON", ""))


def test_what_is_of_no_setting_is_left_alone() -> None:
    assert of_settings(ValueError("x")) is None


def test_a_message_of_the_command_line_says_what_must_be() -> None:
    asleep = "Invalid value for '--state': Value error, 'asleep' is not one of 'queued'."
    none = "Invalid value for '--limit': Input should be greater than or equal to 1"

    assert without_foreign_words(asleep) == "Invalid value for '--state': 'asleep' is not one of 'queued'."
    assert without_foreign_words(none) == "Invalid value for '--limit': must be greater than or equal to 1"
