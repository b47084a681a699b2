"""The schema of a database as text: what ``storage/schema.sql`` holds.

Of functions it has the name and arguments of those that the application and producers may call: each has a file of its
own. The months' partitions are left out, since they depend on the day.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from embedded import binaries
from embedded.account import Account

_HEAD: Final = """\
-- The schema that the migrations make. Written by `make schema`; tests/storage/test_schema.py compares. Functions are
-- in storage/<room>/functions/. The partitions of months are made by headrace.ensure_partitions.
"""
_BODIES: Final = re.compile(r"^\d+; \d+ \d+ FUNCTION ", re.MULTILINE)
_INNER: Final = re.compile(r"^(REVOKE ALL|GRANT ALL) ON FUNCTION .* (FROM PUBLIC|TO headrace_ops);\n", re.MULTILINE)
_SESSION: Final = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\.*)\n", re.MULTILINE)


def schema_of(url: str) -> str:
    """What ``pg_dump`` of the private Postgres says of the schema, without what differs from day to day."""
    programs = binaries.postgres(Account(os.geteuid(), os.getegid()))
    with tempfile.TemporaryDirectory() as name:
        archive, contents = Path(name) / "archive", Path(name) / "contents"
        months = ("--exclude-table=headrace.jobs_2*", "--exclude-table=headrace.runs_2*")
        kind = ("--format=custom", "--schema-only", "--no-owner", "--schema=headrace")
        _run(programs / "pg_dump", *kind, *months, f"--file={archive}", url)
        listed = _run(programs / "pg_restore", "--list", str(archive)).splitlines(keepends=True)
        contents.write_text("".join(line for line in listed if not _BODIES.match(line)))
        text = _run(programs / "pg_restore", "--no-owner", f"--use-list={contents}", "--file=-", str(archive))
    statements = re.sub(r"\n{2,}", "\n\n", _SESSION.sub("", _INNER.sub("", text)).strip())
    return f"{_HEAD}\n{statements}\n"


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
