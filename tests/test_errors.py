"""What every error says: of the platform's own hierarchy and of the light client's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from headrace_client import errors as light

import errors
from router.providers.usage import UsageFault

HINT = "Do this instead."
STORAGE = Path(__file__).parents[1] / "storage"
# Where SQL functions name a code: a refusal, an error's or a run's code, the reason of an ending.
IN_SQL = re.compile(
    r"""refusal\('(\w+)' | 'code',\s*'(\w+)' | 'error_code',\s*'(\w+)' | end_job\([^']*'\w+',\s*'(\w+)'""", re.VERBOSE
)
REASON_IN_SQL = re.compile(r"reason := (.*);")


def kinds(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for one in kind.__subclasses__():
        yield from kinds(one)


def made(kind: type[Any], *message: str, **facts: Any) -> Any:
    if issubclass(kind, errors.ProviderError):
        facts["provider"] = "openai"
    return kind(*message, **facts)


@pytest.mark.parametrize("root", [errors.HeadraceError, light.HeadraceError], ids=["own", "light client"])
def test_every_error_joins_its_sentences_with_one_full_stop(root: type[Any]) -> None:
    found = list(dict.fromkeys(kinds(root)))
    assert len(found) > 15

    for kind in found:
        says = made(kind).message.removesuffix(".")

        assert str(made(kind, hint=HINT)) == f"{says}. {HINT}", kind
        assert str(made(kind, value=7, hint=HINT)) == f"{says} (got 7). {HINT}", kind
        assert str(made(kind, field="id", value=7)) == f"id: {says} (got 7)", kind


@pytest.mark.parametrize("package", [errors, light], ids=["own", "light client"])
@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("cannot be read", f"cannot be read. {HINT}"),
        ("cannot be read.", f"cannot be read. {HINT}"),
        ("cannot be read. \n", f"cannot be read. {HINT}"),
        ("Is it there?", f"Is it there? {HINT}"),
        ("and so on …", f"and so on … {HINT}"),
        ("(see above)", f"(see above). {HINT}"),
    ],
)
def test_what_ends_a_sentence_already_gets_no_second_end(package: Any, message: str, said: str) -> None:
    assert str(package.InvalidInputError(message, hint=HINT)) == said
    assert str(package.InvalidInputError(message)) == message


def test_no_code_stands_for_two_errors() -> None:
    found = list(dict.fromkeys(kinds(errors.HeadraceError)))

    codes = [kind.code for kind in found]

    assert sorted(codes) == sorted(set(codes))


def test_every_code_that_a_sql_function_makes_has_its_class() -> None:
    made_there: set[str] = set()
    for file in STORAGE.glob("*/functions/**/*.sql"):
        text = file.read_text("utf-8")
        made_there |= {code for codes in IN_SQL.findall(text) for code in codes if code}
        for reason in REASON_IN_SQL.findall(text):
            made_there |= set(re.findall(r"'(\w+)'", reason))

    assert {"unknown_tenant", "cancelled", "deadline_passed", "outcome_unknown", "poison", "worker_lost"} <= made_there
    assert {code for code in made_there if errors.by_code(code).code != code} == set()


def test_every_fault_of_a_usage_has_its_class() -> None:
    for code in get_args(UsageFault):
        assert errors.by_code(code).code == code
