"""The providers' prompt caches: a long enough prefix that was sent before costs less the next time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from simulator.protocol.asked import Breakpoint

LEAST_TOKENS = 1_024
REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class CacheUse:
    """o200k tokens of a prompt that were read from the cache, and that were written to it (``long``: for an hour)."""

    read: int = 0
    written: int = 0
    written_long: int = 0


class SimulatedPromptCache:
    """The cache of one provider. The oldest prefixes are forgotten first."""

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}

    def use(
        self, model: str, texts: Sequence[str], counts: Sequence[int], breakpoints: Sequence[Breakpoint]
    ) -> CacheUse:
        """Read the longest prefix that is known and remember the longer ones.

        :param counts: the tokens of each of ``texts``.
        :param breakpoints: where prefixes end, shortest first.
        """
        if not breakpoints or sum(counts) < LEAST_TOKENS:
            return CacheUse()
        read = written = written_long = reached = 0
        digest = blake2b(model.encode(), digest_size=16)
        tokens = position = 0
        for mark in breakpoints:
            for text, text_tokens in zip(texts[position : mark.texts], counts[position : mark.texts], strict=True):
                digest.update(b"\x00" + text.encode("utf-8", "surrogatepass"))
                tokens += text_tokens
            position = mark.texts
            if tokens < LEAST_TOKENS:
                continue
            if self._remember(digest.digest()):
                read, written, written_long = tokens, 0, 0
            elif mark.long_lived:
                written_long += tokens - reached
            else:
                written += tokens - reached
            reached = tokens
        return CacheUse(read, written, written_long)

    def _remember(self, key: bytes) -> bool:
        known = key in self._seen
        if known:
            del self._seen[key]
        elif len(self._seen) >= REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = None
        return known
