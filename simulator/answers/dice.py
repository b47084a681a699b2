"""Choices that look random and are not: the same seed and the same occasion give the same throw."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Throws that depend on a seed and the name of the occasion only."""

    __slots__ = ("_seed",)

    def __init__(self, *seed: str) -> None:
        self._seed = blake2b("\x1f".join(seed).encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def unit(self, occasion: str) -> float:
        """A number in [0, 1)."""
        return int.from_bytes(self._throw(occasion)[:6], "big") / 2**48

    def below(self, bound: int, occasion: str) -> int:
        """A whole number in [0, bound)."""
        return int.from_bytes(self._throw(occasion), "big") % bound

    def pick(self, options: Sequence[T], occasion: str) -> T:
        """One of the options, of which there must be at least one."""
        return options[self.below(len(options), occasion)]

    def _throw(self, occasion: str) -> bytes:
        return blake2b(occasion.encode("utf-8", "surrogatepass"), key=self._seed, digest_size=8).digest()
