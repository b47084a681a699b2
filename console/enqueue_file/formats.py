"""Recognise a file that is not JSON lines by its first two lines. Each known format is refused by name, with a fix."""

from __future__ import annotations

import json
import re
from typing import Final

from errors import InvalidInputError

_TO_LINES = "headrace jobs enqueue --file -"
_PACKED: Final = (
    (b"\x1f\x8b", "gzip", f"gunzip -c FILE | {_TO_LINES}"),
    (b"\x28\xb5\x2f\xfd", "zstd", f"zstd -dc FILE | {_TO_LINES}"),
    (b"\xfd7zXZ\x00", "xz", f"xz -dc FILE | {_TO_LINES}"),
    (b"BZh", "bzip2", f"bunzip2 -c FILE | {_TO_LINES}"),
)
_OTHER: Final = (
    (b"PK\x03\x04", "a zip archive (a spreadsheet is one too)", "Unpack it, and write one JSON object a line."),
    (b"PAR1", "a Parquet file", "Write its rows as JSON lines, with pyarrow or DuckDB."),
    (b"SQLite format 3\x00", "a SQLite database", "Write its rows as JSON lines."),
)
_UNICODE: Final = (  # the longer ones first: one is a prefix of another
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_BOM = b"\xef\xbb\xbf"
_NAME = re.compile(r"[^\W\d][\w -]{0,60}")


def check_format(first: bytes, second: bytes | None) -> None:
    """Refuse input that is not JSON lines. Input that looks like JSON lines passes, even if one line is wrong.

    :param first: the first line that is not blank, as bytes.
    :param second: the next one; None: there is none.
    :raises InvalidInputError: it names the format of the file.
    """
    for mark, name, command in _PACKED:
        if first.startswith(mark):
            raise _refused(f"is compressed with {name}", f"Unpack it on the way: {command}")
    for mark, name, hint in _OTHER:
        if first.startswith(mark):
            raise _refused(f"is {name}, not JSON lines", hint)
    encoding = next((name for mark, name in _UNICODE if first.startswith(mark)), None)
    if encoding is None and b"\x00" in first[:4]:
        encoding = "UTF-16" if first[:2].count(0) == 1 else "UTF-32"
    if encoding is not None:
        raise _refused(
            f"is {encoding}, not UTF-8", f"Convert it on the way: iconv -f {encoding} -t UTF-8 FILE | {_TO_LINES}"
        )
    line = first.removeprefix(_BOM).decode("utf-8", "replace").strip()
    after = None if second is None else second.decode("utf-8", "replace").strip()
    if line.startswith("[") and _is_array(line, after):
        raise _refused("is a JSON array, not JSON lines", f"Take it apart on the way: jq -c '.[]' FILE | {_TO_LINES}")
    if line.startswith("{") and after is not None and _is_cut(line) and not _is_object(after):
        raise _refused(
            "is JSON over several lines, not one object a line",
            f"Put each object on one line on the way: jq -c . FILE | {_TO_LINES}",
        )
    if _is_csv_head(line):
        raise _refused(
            "is CSV, not JSON lines",
            "Write one JSON object a line, with the fields of enqueue: docs/how-to/run-a-backfill.md shows a program.",
        )


def _is_array(line: str, after: str | None) -> bool:
    """Whether a whole file is one array, and not a line that should have been an object."""
    return after is None or line == "[" or not _is_object(after)


def _is_cut(line: str) -> bool:
    """Whether a text continues in the next line: it is valid JSON as far as it goes."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line)
    except (ValueError, RecursionError):
        return False
    return False


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _is_csv_head(line: str) -> bool:
    """Names with a separator between them."""
    for separator in ",;\t":
        names = [one.strip().strip('"') for one in line.split(separator)]
        if len(names) > 1 and all(_NAME.fullmatch(one) for one in names):
            return True
    return False


def _refused(says: str, hint: str) -> InvalidInputError:
    return InvalidInputError(says, field="file", hint=hint)
