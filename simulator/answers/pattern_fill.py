"""A text that matches a regular expression, for JSON schemas that ask for a ``pattern``.

Reads the part of the syntax that schemas use: literals, classes, groups, alternatives, repetition and anchors. Anything
else (look-arounds, back-references) raises :class:`UnreadablePatternError`.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from guards.check_budget import CPU_S, CheckBudget
from simulator.answers.dice import Dice

_PRINTABLE = string.ascii_lowercase + string.digits + string.ascii_uppercase + "-_. "
_KINDS = {"d": string.digits, "w": string.ascii_lowercase + string.digits + "_", "s": " "}
_UNLIMITED = 10_000
_LONGEST = 20_000  # characters


class UnreadablePatternError(ValueError):
    """The pattern uses syntax that is not read here."""


@dataclass(frozen=True, slots=True)
class _OneOf:
    """One character of a set."""

    characters: str


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Either:
    branches: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    node: _Node
    least: int
    most: int


_Node = _OneOf | _Sequence | _Either | _Repeat


def sample(pattern: str, dice: Dice, *, extra: int = 0, budget: CheckBudget | None = None) -> str:
    """A text that ``pattern`` matches.

    :param budget: what it may cost.
    :param extra: how many times more than the least each repetition is taken, as far as it allows.
    :raises UnreadablePatternError: for syntax that is not read here.
    """
    written: list[str] = []
    try:
        _write(_Parser(pattern).whole(), dice, extra, written, budget or CheckBudget(CPU_S))
    except RecursionError as error:
        raise UnreadablePatternError("groups nested too deep") from error
    return "".join(written)


def _write(node: _Node, dice: Dice, extra: int, written: list[str], budget: CheckBudget) -> None:
    budget.spend(5)
    if len(written) > _LONGEST:
        raise UnreadablePatternError(f"asks for more than {_LONGEST} characters")
    occasion = str(len(written))
    match node:
        case _OneOf(characters):
            written.append(dice.pick(characters, occasion))
        case _Sequence(parts):
            for part in parts:
                _write(part, dice, extra, written, budget)
        case _Either(branches):
            _write(dice.pick(branches, "branch" + occasion), dice, extra, written, budget)
        case _Repeat(inner, least, most):
            for _ in range(min(most, least + extra)):
                _write(inner, dice, extra, written, budget)


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def whole(self) -> _Node:
        node = self._alternatives()
        if self._at < len(self._pattern):
            raise UnreadablePatternError(f"unbalanced ')' at {self._at} in {self._pattern!r}")
        return node

    def _alternatives(self) -> _Node:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else _Either(tuple(branches))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            atom = self._atom()
            parts.append(self._repeated(atom))
        return _Sequence(tuple(parts))

    def _atom(self) -> _Node:
        char = self._next()
        if char in "^$":
            return _Sequence(())
        if char == ".":
            return _OneOf(_PRINTABLE)
        if char == "(":
            return self._group()
        if char == "[":
            return self._set()
        if char == "\\":
            return self._escape()
        if char in "*+?":
            raise UnreadablePatternError(f"nothing to repeat at {self._at - 1} in {self._pattern!r}")
        return _OneOf(char)

    def _group(self) -> _Node:
        if self._take("?") and not self._take(":"):
            if not (self._take("P<") or self._take("<")) or self._peek() in ("=", "!"):
                raise UnreadablePatternError(f"look-around in {self._pattern!r}")
            while self._next() != ">":
                pass
        node = self._alternatives()
        if not self._take(")"):
            raise UnreadablePatternError(f"unclosed '(' in {self._pattern!r}")
        return node

    def _escape(self) -> _Node:
        char = self._next()
        if char in "bBAZz":
            return _Sequence(())
        characters = self._escaped(char)
        return _OneOf(characters)

    def _escaped(self, char: str) -> str:
        """The characters that ``\\char`` stands for."""
        if char in _KINDS:
            return _KINDS[char]
        if char.lower() in _KINDS:
            return "".join(other for other in _PRINTABLE if other not in _KINDS[char.lower()])
        if char in "xu":
            width = 2 if char == "x" else 4
            digits = self._pattern[self._at : self._at + width]
            self._at += width
            try:
                return chr(int(digits, 16))
            except ValueError:
                raise UnreadablePatternError(f"\\{char}{digits} in {self._pattern!r}") from None
        if char.isalnum():
            known = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
            if char not in known:
                raise UnreadablePatternError(f"\\{char} in {self._pattern!r}")
            return known[char]
        return char

    def _set(self) -> _Node:
        negated = self._take("^")
        found: list[str] = []
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._member()
            if len(low) == 1 and self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] != "]":
                self._next()
                high = self._member()
                if len(high) != 1 or ord(high) < ord(low):
                    raise UnreadablePatternError(f"range {low}-{high} in {self._pattern!r}")
                found.extend(chr(code) for code in range(ord(low), min(ord(high), ord(low) + 512) + 1))
            else:
                found.extend(low)
        self._next()
        characters = [char for char in _PRINTABLE if char not in found] if negated else found
        if not characters:
            raise UnreadablePatternError(f"empty class in {self._pattern!r}")
        return _OneOf("".join(characters))

    def _member(self) -> str:
        char = self._next()
        return self._escaped(self._next()) if char == "\\" else char

    def _repeated(self, node: _Node) -> _Node:
        while True:
            if self._take("*"):
                node = _Repeat(node, 0, _UNLIMITED)
            elif self._take("+"):
                node = _Repeat(node, 1, _UNLIMITED)
            elif self._take("?"):
                node = _Repeat(node, 0, 1)
            elif self._peek() == "{" and (bounds := self._bounds()) is not None:
                node = _Repeat(node, *bounds)
            else:
                return node
            self._take("?")  # a lazy repetition matches the same texts

    def _bounds(self) -> tuple[int, int] | None:
        end = self._pattern.find("}", self._at)
        least, comma, most = self._pattern[self._at + 1 : end].partition(",")
        if end < 0 or not least.isdigit() or (most and not most.isdigit()):
            return None
        self._at = end + 1
        if not comma:
            return int(least), int(least)
        return int(least), int(most) if most else _UNLIMITED

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise UnreadablePatternError(f"unexpected end of {self._pattern!r}")
        self._at += 1
        return self._pattern[self._at - 1]

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, token: str) -> bool:
        if self._pattern.startswith(token, self._at):
            self._at += len(token)
            return True
        return False
