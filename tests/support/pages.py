"""The pages of the documentation, read: their code blocks and the rows of their tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(?P<kind>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(page: Path, kind: str) -> list[str]:
    """The code blocks of a page that are tagged so."""
    return [match["text"] for match in FENCE.finditer(page.read_text("utf-8")) if match["kind"] == kind]


def rows(page: str) -> list[list[str]]:
    """The cells of every table row of a page, without heads and rulers."""
    found = []
    lines = (DOCS / page).read_text("utf-8").splitlines()
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        is_row = line.startswith("|") and not line.startswith("|---") and not after.startswith("|---")
        if is_row and before.startswith("|"):
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found
