"""A file that is not JSON lines is refused by name, with what to do; lines among which one is wrong are not."""

from __future__ import annotations

import gzip
import io
import json
import lzma

import pytest

from console.enqueue_file.formats import check_format
from console.enqueue_file.lines import check_file, read_lines
from errors import InvalidInputError

JOB = {"user_id": "ada", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}]}
BOM = b"\xef\xbb\xbf"
ONE = json.dumps(JOB).encode()
LINES = "".join(json.dumps({**JOB, "user_id": f"u {n}"}) + "\n" for n in range(3))

OTHER = {
    "an array in one line": (json.dumps([JOB, JOB]).encode(), "a JSON array", "jq -c '.[]'"),
    "an array of a line each": (b"[\n" + ONE + b",\n" + ONE + b"\n]\n", "a JSON array", "jq"),
    "an array that begins with its first job": (b"[" + ONE + b",\n" + ONE + b"]", "a JSON array", "jq"),
    "a pretty array": (json.dumps([JOB], indent=2).encode(), "a JSON array", "jq -c '.[]'"),
    "an empty array": (b"[]\n", "a JSON array", "jq"),
    "a pretty object": (json.dumps(JOB, indent=2).encode(), "JSON over several lines", "jq -c . FILE"),
    "pretty objects after a mark": (BOM + json.dumps(JOB, indent=4).encode() * 2, "over several lines", "jq -c ."),
    "an object of two lines": (b'{"user_id": "ada",\n"feature": "chat"}\n', "over several lines", "jq -c ."),
    "CSV": (b"user_id,feature,content\nada,chat,Hi\n", "is CSV", "run-a-backfill.md"),
    "CSV with a mark": (BOM + b"user_id;feature\nada;chat\n", "is CSV", "run-a-backfill.md"),
    "CSV with quotes": (b'"user id","feature"\n"ada","chat"\n', "is CSV", "run-a-backfill.md"),
    "tabs": (b"user_id\tfeature\nada\tchat\n", "is CSV", "run-a-backfill.md"),
    "UTF-16 with a mark": (LINES.encode("utf-16"), "is UTF-16", "iconv -f UTF-16 -t UTF-8"),
    "UTF-16, little end first": (LINES.encode("utf-16-le"), "is UTF-16", "iconv"),
    "UTF-16, big end first": (LINES.encode("utf-16-be"), "is UTF-16", "iconv"),
    "UTF-32": (LINES.encode("utf-32"), "is UTF-32", "iconv -f UTF-32"),
    "gzip": (gzip.compress(LINES.encode()), "compressed with gzip", "gunzip -c"),
    "xz": (lzma.compress(LINES.encode()), "compressed with xz", "xz -dc"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "compressed with zstd", "zstd -dc"),
    "bzip2": (b"BZh91AY&SY\x00\x00", "compressed with bzip2", "bunzip2 -c"),
    "a spreadsheet": (b"PK\x03\x04\x14\x00", "zip archive", "Unpack it"),
    "Parquet": (b"PAR1\x15\x04", "Parquet", "JSON lines"),
}  # fmt: skip

LINES_ALL_THE_SAME = {
    "good lines": LINES,
    "one good line": json.dumps(JOB),
    "a first line that is cut": '{"user_id": "ada", "feature"\n' + LINES,
    "a first line that is an array": "[1]\n" + LINES,
    "a first line that is a brace": "{\n" + LINES,
    "one brace": "{\n",
    "two lines that are nonsense": "{oops\n{oops again\n",
    "prose": "Dear sir, or madam.\nHello, again!\n",
    "a number": "7\n8\n",
    "a deep first line": "[" * 100_000 + "\n" + LINES,
    "nothing": "",
    "blank lines": "\n \n",
}


@pytest.mark.parametrize("kind", OTHER)
def test_another_format_is_refused_by_name(kind: str) -> None:
    content, says, to_do = OTHER[kind]

    for look in (lambda: list(read_lines(io.BytesIO(content))), lambda: check_file(io.BytesIO(content))):
        with pytest.raises(InvalidInputError) as refused:
            look()
        assert refused.value.field == "file"
        assert says in refused.value.message
        assert to_do in (refused.value.hint or "")


@pytest.mark.parametrize("kind", LINES_ALL_THE_SAME)
def test_lines_are_read_whatever_one_of_them_holds(kind: str) -> None:
    text = LINES_ALL_THE_SAME[kind]

    check_file(io.BytesIO(text.encode()))
    read = list(read_lines(io.BytesIO(text.encode())))

    assert len(read) == sum(bool(one.strip()) for one in text.splitlines())
    assert sum(one.fields is not None for one in read) == text.count('"content"')


def test_a_file_is_left_where_it_was() -> None:
    stream = io.BytesIO(LINES.encode())

    check_file(stream)

    assert stream.tell() == 0
    check_format(LINES.encode(), None)
