"""The journal: every call in the order in which it ended, with the provider's bill for it."""

from __future__ import annotations

import json
import time


class Journal:
    """Entries are kept as JSON, so that writing one costs the same at any length and reading is a join."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._entries: list[bytes] = []

    def write(
        self,
        *,
        provider: str,
        model: str | None,
        client_request_id: str | None,
        request_id: str,
        status: int,
        fault: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_input_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> None:
        """Add the call that has just ended.

        :param status: the HTTP status sent; 0 when no complete answer reached the client.
        :param input_tokens: all tokens that are billed as input, cached tokens and cache writes included, for both
            providers.
        """
        entry = {
            "provider": provider,
            "model": model,
            "client_request_id": client_request_id,
            "request_id": request_id,
            "status": status,
            "fault": fault,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_input_tokens": cached_input_tokens,
            "cache_write_tokens": cache_write_tokens,
            "at": round((time.monotonic() - self._started) * 1000, 3),
        }
        self._entries.append(json.dumps(entry).encode())

    def read(self, since: int = 0) -> bytes:
        """A JSON list of the entries from number ``since`` on (0 is the first)."""
        return b"[" + b",".join(self._entries[since:]) + b"]"

    def clear(self) -> int:
        """Forget all entries; numbering begins again at 0. Returns how many there were."""
        count = len(self._entries)
        self._entries.clear()
        return count
