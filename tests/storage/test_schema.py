"""The schema can be seen: ``storage/schema.sql`` is what the migrations make."""

from __future__ import annotations

import os
from pathlib import Path

from psycopg.conninfo import make_conninfo

from console.endpoints import Endpoints
from tests.conftest import TEMPLATE
from tests.support.schema_dump import schema_of

SCHEMA = Path(__file__).parents[2] / "storage" / "schema.sql"
_WRITE = "HEADRACE_WRITE_SCHEMA"


def test_the_schema_file_is_what_the_migrations_make(services: Endpoints) -> None:
    made = schema_of(make_conninfo(services.require_owner(), dbname=TEMPLATE))
    if os.environ.get(_WRITE):
        SCHEMA.write_text(made, encoding="utf-8")
    assert SCHEMA.read_text(encoding="utf-8") == made, "run `make schema` and look at what has changed"
