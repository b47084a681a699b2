"""Django and FastAPI projects of their own, whose settings, errors and storage clash with nothing of the client's.

Each is started as its how-to says, with the client installed from its wheel and nothing of Headrace on the path.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from storage.db.database import Database
from tests.clients.conftest import answer_next
from tests.support.client_install import CLIENT, Place
from tests.support.fleet import Urls, eventually
from tests.support.ports import free_port
from tests.support.requests import count

EXAMPLES = CLIENT / "examples"
PAGE = (CLIENT.parents[1] / "docs" / "how-to" / "use-the-light-client.md").read_text("utf-8")


def told(request: urllib.request.Request | str) -> tuple[int, Any]:
    """Status and body of an answer."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def post(url: str, **body: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    return told(urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers))


def make_shop(urls: Urls, *, tables: bool) -> None:
    """What the how-to has an administrator run, with the tests' login in place of its own."""
    (schema,) = re.findall(r"-c '(create schema [^']*)'", PAGE)
    (orders,) = re.findall(r"-c '(create table [^']*)'", PAGE)
    with psycopg.connect(urls.owner) as owner:
        owner.execute(schema.replace("authorization shop", "authorization headrace_producer").encode())
        if tables:
            owner.execute("set role headrace_producer")
            owner.execute(orders.encode())


@contextmanager
def serving(
    place: Place, project: Path, log: Path, *arguments: str, port: int, **variables: str
) -> Iterator[str]:  # fmt: skip
    """The service as a process, until the block ends."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            place.command(*arguments),
            cwd=project,
            env=place.environment(project, **variables),
            stdout=file,
            stderr=file,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except HTTPError:
            return True
        except URLError:
            return False
        return True

    try:
        eventually(answers, why="the service answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_django_project(place: Place, folder: Path, urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    make_shop(urls, tables=False)
    at = conninfo_to_dict(urls.producer)
    variables = {
        "SECRET_KEY": "x", "TENANT_ID": str(tenant), "DB_HOST": str(at["host"]), "DB_PORT": str(at.get("port") or ""),
        "DB_NAME": str(at["dbname"]), "DB_USER": str(at["user"]), "DB_PASSWORD": str(at.get("password") or ""),
    }  # fmt: skip
    project, port = EXAMPLES / "django_project", free_port()
    place.run("manage.py", "migrate", "--verbosity", "0", cwd=project, **variables)
    run = ("manage.py", "runserver", "--noreload", f"127.0.0.1:{port}")
    with serving(place, project, folder / "log", *run, port=port, **variables) as url:
        status, order = post(f"{url}/orders", customer="ada", question="Where is my parcel?")
        assert status == 201, order
        assert told(f"{url}/orders/{order['order']}/answer")[1]["state"] == "queued"
        assert str(answer_next(app, tenant)) == order["job_id"]
        answer = told(f"{url}/orders/{order['order']}/answer")[1]
        assert (answer["state"], answer["output"], float(answer["cost_usd"]) > 0) == ("succeeded", "Hi", True)

        status, refused = post(f"{url}/orders", customer="ada", question="")
        assert (status, refused["error"][:19]) == (422, "messages[0].content")
    with psycopg.connect(urls.owner) as owner:
        assert owner.execute("select count(*) from shop.storage_order").fetchone() == (1,), "the refused order is not"
    assert count(ops) == 1


def test_a_fastapi_service(place: Place, folder: Path, urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    make_shop(urls, tables=True)
    variables = {"DATABASE_URL": urls.producer, "TENANT_ID": str(tenant)}
    project, port = EXAMPLES / "fastapi_service", free_port()
    run = ("-m", "uvicorn", "service:app", "--port", str(port))
    with serving(place, project, folder / "log", *run, port=port, **variables) as url:
        status, order = post(f"{url}/orders", number=1, customer="ada", question="Where is my parcel?")
        assert status == 201, order
        assert told(f"{url}/orders/1/answer")[1]["state"] == "queued"
        assert str(answer_next(app, tenant)) == order["job_id"]
        answer = told(f"{url}/orders/1/answer?wait_s=20")[1]
        assert (answer["state"], answer["output"], float(answer["cost_usd"]) > 0) == ("succeeded", "Hi", True)

        status, refused = post(f"{url}/orders", number=2, customer="ada", question="")
        assert (status, refused["detail"]["code"]) == (422, "invalid_input")
        assert told(f"{url}/orders/2/answer")[0] == 404, "the refused order is not there either"
    assert count(ops) == 1


@pytest.mark.parametrize("project", ["django_project", "fastapi_service"])
def test_a_project_is_shown_in_the_how_to_as_it_is(project: str) -> None:
    """Each Python block that begins with a file's name is that file, or lines of it that follow each other."""
    shown = [block.split("\n", 1) for block in PAGE.split("```python\n")[1:]]
    files = [
        (head.removeprefix("# "), rest.split("```")[0]) for head, rest in shown if head.startswith(f"# {project}/")
    ]
    assert files, "the page shows nothing of it"
    for name, text in files:
        assert text.strip() in (EXAMPLES / name).read_text("utf-8"), f"{name} is not as the page shows it"
