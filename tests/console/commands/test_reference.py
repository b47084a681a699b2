"""docs/reference/cli.md has every command with every option, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from console.command_line import COMMANDS, load
from tests.support.pages import DOCS

PAGE = (DOCS / "reference" / "cli.md").read_text("utf-8")
SHARED = "Each of the four takes:"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    for name in COMMANDS:
        found = load(name)
        inner = getattr(found, "commands", None)
        if inner is None:
            yield f"headrace {name}", found
        else:
            if found.invoke_without_command:
                yield f"headrace {name}", found
            yield from ((f"headrace {name} {sub}", command) for sub, command in inner.items())


def options(command: Any) -> set[str]:
    names = {name for one in command.params if one.param_type_name == "option" and not one.hidden for name in one.opts}
    return names - {"--help"}


def sections() -> dict[str, str]:
    """Heading → what stands under it."""
    parts = re.split(r"^#{2,3} (headrace .+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def listed(text: str) -> set[str]:
    return set(re.findall(r"^\| `(--[a-z-]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_a_command_is_in_the_page_with_its_options(name: str, command: Any) -> None:
    text = sections()[name]
    if name.startswith("headrace services"):
        text = PAGE[PAGE.index(SHARED) : PAGE.index("## headrace migrate")]

    assert listed(text) == options(command)


def test_the_page_has_no_other_commands() -> None:
    groups = {f"headrace {name}" for name in COMMANDS}

    assert set(sections()) - groups <= {name for name, _ in commands()}


def test_every_command_speaks_to_programs() -> None:
    assert {name for name, command in commands() if "--json" not in options(command)} == {"headrace demo"}
