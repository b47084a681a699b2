"""What every error says: of the platform's own hierarchy and of the light client's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from headrace_client import errors as light

import errors

HINT = "Do this instead."


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
