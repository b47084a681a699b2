"""A prompt's body and its variables become messages.

The body is a template: a line that reads ``## system``, ``## user`` or ``## assistant`` begins a message, and ``{{ name
}}`` is replaced by the variable of that name. Only the body is ever read as a template. The values go in last and are
not read again, so a ticket that contains ``## system`` or ``{{ secret }}`` stays a ticket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from errors import ExtraVariableError, InvalidPromptError, MissingVariableError
from prompts.messages import Message, Role

_HEADING: Final = re.compile(r"^## (system|user|assistant)[ \t]*\r?$", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")


def render(body: str, variables: Mapping[str, str]) -> tuple[Message, ...]:
    """The messages of ``body`` with every placeholder replaced by its variable, unchanged to the last character.

    :raises MissingVariableError: the body uses a variable that is not given.
    :raises ExtraVariableError: a variable is given that the body does not use.
    :raises InvalidPromptError: the body is not a template (see :func:`placeholders`).
    """
    sections = _parse(body)
    _check_names(_names(sections), variables)
    return tuple(Message(section.role, section.fill(variables)) for section in sections)


def placeholders(body: str) -> frozenset[str]:
    """The names of the variables that ``body`` uses.

    :raises InvalidPromptError: the body is not a template: no section, text before the first one, an empty section, an
        unfinished placeholder, or turns out of order (an optional ``system``, then ``user`` and ``assistant`` in turn,
        ``user`` first and last).
    """
    return _names(_parse(body))


@dataclass(frozen=True, slots=True)
class _Section:
    """One message of a template: texts at the even places of ``pieces``, variable names at the odd ones."""

    role: Role
    pieces: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.pieces[1::2]

    @property
    def texts(self) -> tuple[str, ...]:
        return self.pieces[::2]

    def fill(self, variables: Mapping[str, str]) -> str:
        return "".join(variables[piece] if place % 2 else piece for place, piece in enumerate(self.pieces))


# A process renders the same few prompts for ever; the bound only keeps a churn of versions from growing memory.
@lru_cache(maxsize=512)
def _parse(body: str) -> tuple[_Section, ...]:
    before, *rest = _HEADING.split(body)
    if not rest:
        raise InvalidPromptError("has no section", field="body", hint="Begin with a line that reads: ## user")
    if before.strip():
        raise InvalidPromptError(
            "has text before its first section",
            field="body",
            value=before.strip(),
            hint="Move it under ## system or ## user.",
        )
    sections = tuple(
        _section(cast("Role", role), text.strip()) for role, text in zip(rest[::2], rest[1::2], strict=True)
    )
    _check_order([section.role for section in sections])
    return sections


def _section(role: Role, text: str) -> _Section:
    if not text:
        raise InvalidPromptError("has an empty section", field="body", value=f"## {role}", hint="Fill or remove it.")
    section = _Section(role, tuple(_PLACEHOLDER.split(text)))
    for piece in section.texts:
        _, opened, after = piece.partition("{{")
        if opened:
            raise InvalidPromptError(
                "has braces that are not a placeholder",
                field="body",
                value=opened + after[:40],
                hint="A placeholder reads {{ name }}: letters, digits and underscores, no digit first.",
            )
    return section


def _check_order(roles: list[Role]) -> None:
    turns = roles[1:] if roles[0] == "system" else roles
    expected = ["assistant" if place % 2 else "user" for place in range(len(turns))]
    if turns != expected or not turns or turns[-1] != "user":
        raise InvalidPromptError(
            "has its sections out of order",
            field="body",
            value=", ".join(roles),
            hint="At most one system first, then user and assistant in turn, user first and last.",
        )


def _names(sections: tuple[_Section, ...]) -> frozenset[str]:
    return frozenset(name for section in sections for name in section.names)


def _check_names(used: frozenset[str], given: Mapping[str, str]) -> None:
    missing = sorted(used - given.keys())
    if missing:
        raise MissingVariableError(
            f"the prompt needs the variable {missing[0]!r}, which was not given",
            field=f"variables.{missing[0]}",
            hint="Give it, as text.",
            missing=missing,
        )
    extra = sorted(given.keys() - used)
    if extra:
        raise ExtraVariableError(
            f"the prompt does not use the variable {extra[0]!r}",
            field=f"variables.{extra[0]}",
            hint=f"It uses: {', '.join(sorted(used)) or 'none'}.",
            extra=extra,
        )
