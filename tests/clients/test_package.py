"""The light client as a package: its version, what is in its wheel, what it imports, what it shares with Headrace."""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from dataclasses import fields
from pathlib import Path

import headrace_client
import pytest
from headrace_client import errors as light_errors
from headrace_client import fields as light_fields
from headrace_client import ids, outcomes

import errors
from producers import client as whole
from producers import fields as whole_fields
from storage.db import ids as whole_ids
from storage.jobs import jobs
from tests.support.client_install import CLIENT, Place

ROOT = Path(__file__).parents[2]


def test_it_has_headraces_version_and_needs_psycopg_alone() -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    theirs = tomllib.loads((CLIENT / "pyproject.toml").read_text("utf-8"))
    assert theirs["project"]["version"] == ours["project"]["version"]
    assert theirs["project"]["requires-python"] == ours["project"]["requires-python"]
    assert [re.split(r"[<>=\[ ]", one)[0] for one in theirs["project"]["dependencies"]] == ["psycopg"]
    assert "clients" not in ours["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert (CLIENT / "LICENSE").read_text("utf-8") == (ROOT / "LICENSE").read_text("utf-8")


def test_its_wheel_holds_one_typed_package_and_nothing_else(place: Place) -> None:
    with zipfile.ZipFile(place.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {
        f"headrace_client/{file.name}" for file in (CLIENT / "headrace_client").iterdir() if file.is_file()
    }
    assert "headrace_client/py.typed" in names


def test_it_loads_psycopg_and_the_standard_library_alone(place: Place, folder: Path) -> None:
    program = (
        "import sys, json, psycopg; before = set(sys.modules); import headrace_client;"
        "new = sorted(set(sys.modules) - before);"
        "print(json.dumps([new, sorted(sys.stdlib_module_names), headrace_client.__file__]))"
    )
    loaded, standard, file = json.loads(place.run("-c", program, cwd=folder))
    foreign = {name.split(".")[0] for name in loaded} - set(standard)
    assert foreign == {"headrace_client"}
    assert Path(file).is_relative_to(place.packages)


def test_it_is_small_and_quick_to_import(place: Place, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of its README, within wide bounds; they are printed."""
    installed = sum(
        file.stat().st_size
        for part in place.packages.glob("headrace_client*")
        for file in part.rglob("*")
        if file.is_file()
    )
    program = (
        "import time; a = time.process_time(); import psycopg; b = time.process_time(); import headrace_client;"
        "print(b - a, time.process_time() - b)"
    )
    of_psycopg, own = map(float, place.run("-c", program, cwd=folder).split())
    with capsys.disabled():
        print(
            f"\nheadrace-client: {place.wheel.stat().st_size // 1000} kB as a wheel, {installed // 1000} kB installed"
        )
        print(f"CPU to import without bytecode {own * 1000:.0f} ms, psycopg before it {of_psycopg * 1000:.0f} ms")
    assert installed < 100_000
    assert own < 2 * of_psycopg


def test_a_place_holds_nothing_of_headrace(place: Place, folder: Path) -> None:
    """The tests of the installed client are worth nothing if it could reach what it must not need."""
    found = "from importlib.util import find_spec; print([n for n in {!r} if find_spec(n)])"
    rooms = ["errors", "settings", "storage", "queues", "producers", "pydantic_settings", "redis", "psycopg_pool"]
    assert place.run("-c", found.format(rooms), cwd=folder).strip() == "[]"


def test_its_errors_are_headraces_own() -> None:
    def family(kind: type, module: object) -> list[str]:
        return [one.__name__ for one in kind.__mro__ if one.__module__ == getattr(module, "__name__", "")]

    kinds = [one for one in vars(light_errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert len(kinds) > 15
    for kind in kinds:
        own = getattr(errors, kind.__name__)
        assert (kind.code, kind.__doc__, family(kind, light_errors)) == (own.code, own.__doc__, family(own, errors))


def test_every_code_that_the_functions_refuse_with_has_its_class() -> None:
    texts = [file.read_text("utf-8") for file in (ROOT / "storage").glob("*/functions/*.sql")]
    codes = {code for text in texts for code in re.findall(r"refusal\('(\w+)'", text)}
    codes |= {code for text in texts for code in re.findall(r"'code', '(\w+)', 'field'", text)}
    assert {"unknown_tenant", "idempotency_conflict", "too_long"} <= codes
    for code in codes:
        assert type(light_errors.refusal({"code": code, "message": "x"})).code == code
    unknown = light_errors.refusal({"code": "of_a_later_release", "field": "user_id", "message": "x", "more": 1})
    assert (type(unknown), unknown.code) == (light_errors.InvalidInputError, "of_a_later_release")
    assert unknown.as_dict() == {"code": "of_a_later_release", "message": "x", "field": "user_id", "more": 1}


def as_written(kind: type) -> dict[str, str]:
    """The annotations of a class, as its source has them."""
    return {name: getattr(one, "__forward_arg__", str(one)) for name, one in kind.__annotations__.items()}


def test_fields_states_and_results_are_headraces_own() -> None:
    assert as_written(light_fields.Fields) == as_written(whole_fields.Fields)
    assert light_fields.Fields.__required_keys__ == whole_fields.Fields.__required_keys__
    assert [(one.name, one.value, one.ended) for one in outcomes.State] == [
        (one.name, one.value, one.ended) for one in jobs.State
    ]
    for mine, theirs in (
        (outcomes.Result, whole.Result),
        (outcomes.Batch, whole.Batch),
        (outcomes.Refused, whole.Refused),
    ):
        assert [one.name for one in fields(mine)] == [one.name for one in fields(theirs)]
    assert set(headrace_client.__all__) >= {"enqueue", "enqueue_many", "result", "aenqueue", "aenqueue_many", "aresult"}


def test_its_ids_are_of_the_same_kind() -> None:
    one, other = ids.new_id(), whole_ids.new_id()
    assert (one.version, one.variant) == (other.version, other.variant) == (7, one.variant)
    assert one.int >> 80 <= other.int >> 80, "they sort by time"
