"""Regular expressions that a tenant chooses, in linear time: RE2, which has no look-around and no back-references.

``re`` tries one way after the other, in a time that can double with each letter, and keeps the interpreter lock
meanwhile. RE2 reads each letter once and lets other threads run. What remains is the size of the compiled program: in
the worst case each letter costs one step of each instruction, so the product has a bound.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import re2

from errors import SchemaTooCostlyError
from guards.check_budget import CheckBudget

MAX_CHARACTERS: Final = 1_000
"""The longest pattern."""

MAX_INSTRUCTIONS: Final = 10_000
"""The largest compiled pattern: ``.{1,1000}`` has 9,001 instructions."""

_MAX_STEPS: Final = 10_000_000  # letters times instructions: at most 6 ns each, measured (docs/decisions/0022)
_STEPS_A_BUDGET_STEP: Final = 2_000  # most patterns need far fewer steps than the worst case

_OPTIONS: Final = re2.Options()
_OPTIONS.max_mem = 512 * 1024  # bytes for a program and its cached states; the library keeps 128 patterns at most
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True

# ECMA-262 writes a character as \uXXXX, or as a pair of them; RE2 writes \x{XXXX}.
_ESCAPE: Final = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL
)


class Pattern:
    """One pattern of a schema, found anywhere in a text as JSON Schema says.

    It keeps the compiled program in a cache of the process, not in itself: programs have caches of their own, which a
    thousand schemas must not multiply.
    """

    __slots__ = ("instructions", "source")

    def __init__(self, source: str) -> None:
        """Raises :class:`ValueError` saying why the pattern is refused."""
        if len(source) > MAX_CHARACTERS:
            raise ValueError(f"has {len(source)} characters; a pattern may have {MAX_CHARACTERS}")
        self.source = _ESCAPE.sub(_as_re2, source)
        program = _program(self.source)
        self.instructions = max(program.programsize, 1)
        if self.instructions > MAX_INSTRUCTIONS:
            raise ValueError(f"compiles to {self.instructions} instructions; a pattern may have {MAX_INSTRUCTIONS}")

    def is_in(self, text: str, budget: CheckBudget) -> bool:
        """Whether the pattern matches anywhere in the text.

        Raises :class:`errors.SchemaTooCostlyError` if the text is too long for so large a pattern.
        """
        steps = self.instructions * len(text)
        if not text.isascii():
            steps = self.instructions * len(text.encode())
        if steps > _MAX_STEPS:
            raise SchemaTooCostlyError(
                f"a pattern of {self.instructions} instructions may be applied to texts of up to "
                f"{_MAX_STEPS // self.instructions} bytes",
                hint="Write a shorter pattern, with smaller repeat counts.",
            )
        found = _program(self.source).search(text) is not None
        budget.spend(4 + self.instructions // 32 + steps // _STEPS_A_BUDGET_STEP)
        return found


@lru_cache(maxsize=128)
def _program(source: str) -> re2._Regexp:
    try:
        return re2.compile(source, _OPTIONS)
    except (re2.error, UnicodeEncodeError) as error:
        raise ValueError(_reason(error)) from error


def _reason(error: Exception) -> str:
    told = error.args[0] if error.args and isinstance(error.args[0], bytes) else b""
    reason = told.decode("utf-8", "replace").partition(":")[0] or "is not text"
    return f"is not in the syntax of RE2, which takes linear time: {reason}"


def _as_re2(escape: re.Match[str]) -> str:
    high, low, unit, other = escape.groups()
    if high is not None:
        return rf"\x{{{0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF):x}}}"
    if unit is not None:
        return rf"\x{{{unit}}}"
    return {"/": "/", "-": r"\-"}.get(other, "\\" + other)
