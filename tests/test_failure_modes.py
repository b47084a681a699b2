"""docs/explanation/failure-modes.md tells for each fault who sees what, and each test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support.deployment import ROOT

PAGE = (ROOT / "docs" / "explanation" / "failure-modes.md").read_text("utf-8")
FAULTS = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
TOLD = ("Users", "Operators", "Kept", "Shown by")


@cache
def named_in(path: str) -> set[str]:
    """The names of the tests in a file, those included that it takes over from another one."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):  # a state machine's test case
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if name.startswith("test_")}


def test_the_page_was_read() -> None:
    assert len(FAULTS) == PAGE.count("\n### ") >= 30


@pytest.mark.parametrize("title", FAULTS)
def test_each_fault_says_what_is_seen_what_is_kept_and_where_it_is_shown(title: str) -> None:
    assert re.findall(r"^- \*\*(.+?)\*\*:", FAULTS[title], re.MULTILINE) == list(TOLD)
    shown = re.findall(r"`(tests/[\w/.]+)::(\w+)`", FAULTS[title].partition("**Shown by**")[2])
    assert shown, "no test shows it"
    for path, name in shown:
        assert name in named_in(path), f"{path} has no {name}"


def test_each_event_that_it_names_is_one_of_ours() -> None:
    catalogue = (ROOT / "docs" / "reference" / "events.md").read_text("utf-8")
    known = set(re.findall(r"^\| `([a-z]+\.[a-z_]+)`", catalogue, re.MULTILINE))
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", PAGE))
    assert named, "no event is named"
    assert named <= known
