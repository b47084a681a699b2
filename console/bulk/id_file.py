"""A file of job ids, each counted once. An id takes 16 bytes on disk, and 80 in memory while the file is read."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from errors import InvalidInputError

LONGEST_LINE: Final = 16_000_000
"""Bytes: a line may be a line of ``headrace jobs results``, with its answer."""

_SIZE = 16
_HINT = "Write one id a line, or JSON lines with `job_id` or `id`, as `jobs enqueue` and `jobs results` print them."


class IdFile:
    """The different ids of a file, read once and kept for any number of passes. Close it when done."""

    def __init__(self, file: Path) -> None:
        """Read all of it; ``-`` is standard input.

        :raises InvalidInputError: it cannot be read, or a line holds no id; the error names the line.
        """
        self._kept = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this object)
        with ExitStack() as stack:
            stream = sys.stdin.buffer if str(file) == "-" else stack.enter_context(_opened(file))
            number = 0
            seen: set[int] = set()
            while raw := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise _refused(number, f"<over {LONGEST_LINE} bytes>")
                if raw.strip() and (one := _id_of(raw, number)).int not in seen:
                    seen.add(one.int)
                    self._kept.write(one.bytes)
            self._count = len(seen)

    def __len__(self) -> int:
        """The number of different ids."""
        return self._count

    def chunks(self, size: int) -> Iterator[list[UUID]]:
        """The ids in the order of their first occurrence, in chunks of that size."""
        place = 0
        while True:
            self._kept.seek(place)
            block = self._kept.read(size * _SIZE)
            if not block:
                return
            place += len(block)
            yield [UUID(bytes=block[at : at + _SIZE]) for at in range(0, len(block), _SIZE)]

    def close(self) -> None:
        """Forget the ids."""
        self._kept.close()

    def __enter__(self) -> IdFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInputError(f"cannot be read: {reason}", field="ids", value=str(file)) from error


def _id_of(raw: bytes, number: int) -> UUID:
    text = raw.decode("utf-8-sig", "replace").strip()
    given: object = text
    if text.startswith("{"):
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise _refused(number, text) from None
        given = fields.get("job_id", fields.get("id"))
    try:
        return UUID(given) if isinstance(given, str) else UUID("")
    except ValueError:
        raise _refused(number, text) from None


def _refused(number: int, text: str) -> InvalidInputError:
    return InvalidInputError(
        f"line {number} does not hold a job's id", field="ids", value=text[:60], hint=_HINT, line=number
    )
