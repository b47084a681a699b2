"""Files of jobs, a line each, and what became of them in the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.db.database import Database


def line(**fields: Any) -> dict[str, Any]:
    """A good line, changed; what is None is left out."""
    job = {"user_id": "ada", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return {name: value for name, value in job.items() if value is not None}


def write(file: Path, lines: list[Any]) -> Path:
    file.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return file


def in_database(ops: Database) -> dict[UUID, str]:
    with ops.connection() as connection:
        rows = connection.execute("select id, user_id from headrace.jobs order by id").fetchall()
    return {row["id"]: row["user_id"] for row in rows}
