"""What the project is deployed by holds: every command and option exists, every variable is a setting, passwords are
asked for, and the Procfile runs.

No container engine is needed: the compose file's commands and variables are run here, on a Postgres with passwords.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import yaml
from pydantic import AliasChoices

from console.commands import worker
from console.endpoints import Endpoints
from console.metrics.catalogue import METRICS
from embedded import account, binaries
from producers import Client
from queues.broker_url import open_wire
from settings import Settings
from storage.catalogue import tenants
from storage.db.connect import connect
from storage.db.database import Database
from storage.jobs.jobs import State
from tests.support.deployment import ROOT, SUPERUSER_PASSWORD, Guarded, compose, guarded_postgres, procfile
from tests.support.fleet import Fleet, Urls, eventually

BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
PASSWORDS = {
    "POSTGRES_PASSWORD": SUPERUSER_PASSWORD,
    "DEPLOY_PASSWORD": "deploy1",
    "APP_PASSWORD": "app2",
    "OPS_PASSWORD": "ops3",
    "PRODUCER_PASSWORD": "producer4",
}
SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "headrace"}


def variables() -> set[str]:
    """Every environment variable that a process may be given."""
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names |= (
            {str(one) for one in alias.choices} if isinstance(alias, AliasChoices) else {f"HEADRACE_{name.upper()}"}
        )
    return names


def check_command(argv: list[str]) -> None:
    """The command exists and has these options (an unknown one is refused before help is given)."""
    done = subprocess.run([BIN / "headrace", *argv, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"headrace {' '.join(argv)}: {done.stderr}"


# ------------------------------------------------------------------------------------------------------- docker-compose


@pytest.mark.parametrize("name", OURS)
def test_each_service_runs_a_command_that_exists_with_settings_that_exist(name: str) -> None:
    check_command(OURS[name]["command"])
    unknown = set(OURS[name]["environment"]) - variables()
    assert not unknown, f"{name} is given {unknown}, which nothing reads"
    probe = OURS[name].get("healthcheck", {}).get("test")
    if probe is not None:
        assert probe[:2] == ["CMD", "headrace"]
        check_command(probe[2:])


def test_every_setting_can_be_given_to_a_container() -> None:
    handed = {name for service in OURS.values() for name in service["environment"]}
    assert variables() - handed == {"HEADRACE_DIR", "HEADRACE_OPENAI_API_KEY", "HEADRACE_ANTHROPIC_API_KEY"}


def test_only_those_who_send_get_stripes_key() -> None:
    holders = {name for name, one in OURS.items() if "HEADRACE_STRIPE_API_KEY" in one["environment"]}
    assert holders == {"scheduler", "cli"}


def test_only_migrate_gets_what_may_change_the_schema() -> None:
    assert {name for name, one in OURS.items() if "HEADRACE_OWNER_DATABASE_URL" in one["environment"]} == {"migrate"}
    assert {name for name, one in SERVICES.items() if "${POSTGRES_PASSWORD" in json.dumps(one)} == {
        "postgres",
        "logins",
    }


def test_services_wait_for_what_they_need_and_say_how_they_are() -> None:
    once = {name for name, one in SERVICES.items() if one.get("restart", "no") == "no"}
    assert once == {"logins", "migrate", "cli"}
    for name, service in SERVICES.items():
        assert ("test" in service.get("healthcheck", {})) is (name not in once), name
        for other, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in once else "service_healthy"
            assert condition["condition"] == wanted, f"{name} on {other}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith("./") else source in compose()["volumes"], volume
        assert "ports" not in service, "nothing is published without being asked for"
    assert SERVICES["redis"]["command"][-2:] == ["--maxmemory-policy", "noeviction"]


def test_a_worker_is_given_the_time_that_its_drain_may_take() -> None:
    grace = re.fullmatch(r"(\d+)s", OURS["worker"]["stop_grace_period"])
    assert grace is not None
    assert int(grace[1]) > Settings.model_fields["drain_s"].default + worker._BEYOND_DRAIN_S


# ---------------------------------------------------------------------------------------------------------- scaling


def test_the_scaler_asks_for_figures_that_there_are_and_never_for_the_backlog_alone() -> None:
    scaled = yaml.safe_load((ROOT / "deploy" / "keda.yaml").read_text("utf-8"))
    assert (scaled["apiVersion"], scaled["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    spec = scaled["spec"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    asked = set(re.findall(r"headrace_\w+", trigger["metadata"]["query"]))
    assert asked == {"headrace_load"}
    assert asked <= {metric.name for metric in METRICS}
    # replicas x load / threshold: the figure is a ratio to what is there, so it is not an average over replicas
    assert trigger["metricType"] == "Value"
    assert 0.5 <= float(trigger["metadata"]["threshold"]) < 1
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert spec["minReplicaCount"] >= 1, "load is measured against threads that live"
    behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] > behaviour["scaleUp"]["stabilizationWindowSeconds"]


def test_alarms_in_the_how_to_are_of_figures_that_there_are() -> None:
    page = (ROOT / "docs" / "how-to" / "scale-and-watch.md").read_text("utf-8")
    named = set(re.findall(r"\bheadrace_[a-z_]+", page)) - {"headrace_ops"}
    assert {"headrace_load", "headrace_waiting_jobs"} <= named <= {metric.name for metric in METRICS}


# ------------------------------------------------------------------------------------------ image, wheel and workflow


def _dockerfile() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_runs_headrace_as_somebody_without_rights() -> None:
    instructions = _dockerfile()
    last_stage = instructions[max(i for i, (word, _) in enumerate(instructions) if word == "FROM") :]
    facts = dict(last_stage)
    assert facts["USER"].isdigit() and int(facts["USER"]) > 0
    (program,) = json.loads(facts["ENTRYPOINT"])
    assert program in PROJECT["project"]["scripts"]
    check_command([word for word in json.loads(facts["CMD"]) if word != "--help"])
    assert any(f"--uid {facts['USER']}" in rest for word, rest in last_stage if word == "RUN")
    for word, rest in instructions:
        if word == "FROM":
            assert re.match(r"python:3\.(\d+)-slim\b", rest), rest
    installs = [rest for word, rest in instructions if word == "RUN" and "pip " in rest]
    assert any("--require-hashes --requirement requirements.lock" in one for one in installs)
    for one in installs:  # from the index only what the lock knows by hash, the rest from those wheels
        assert "--require-hashes" in one or "--no-index" in one, one


def test_the_image_is_given_what_the_wheel_is_made_of_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    needed = {
        *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"],
        *PROJECT["project"]["license-files"],
    }
    assert let_in == needed | {PROJECT["project"]["readme"], "pyproject.toml", "requirements.lock"}


def test_the_wheel_carries_every_file_that_runs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    parts = [ROOT / one for one in WHEEL]
    files = [file for part in parts for file in ([part] if part.is_file() else part.rglob("*")) if file.is_file()]
    ours = {str(file.relative_to(ROOT)) for file in files if not {"__pycache__", "node_modules"} & set(file.parts)}
    assert {"settings.py", "errors.py", "queues/redis/take.lua", "storage/bootstrap.sql"} <= ours
    assert ours - carried == set()


def test_the_workflow_runs_the_projects_own_checks_on_every_python_that_it_supports() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    (job,) = workflow["jobs"].values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    called = {target for run in runs for target in re.findall(r"\bmake ([a-z-]+)", run)}
    assert "test" in called <= targets
    classified = [one.rsplit(" ", 1)[1] for one in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert job["strategy"]["matrix"]["python"] == classified
    (checks,) = [step for step in job["steps"] if step.get("run") == "make test"]
    assert checks["env"] == {"HEADRACE_CI": "1"}, "a test must not skip there what the machine lacks"
    # what Debian's packages bring to our own gate has to be there too
    wanted = set(re.findall(r"^need \S+ (\S+)", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE))
    installed = {word for run in runs if "apt-get install" in run for word in shlex.split(run)}
    has_node = any(step.get("uses", "").startswith("actions/setup-node@") for step in job["steps"])
    assert wanted - installed - ({"nodejs", "npm"} if has_node else set()) == set()


# ------------------------------------------------------------------------------------- the real thing, with passwords


@dataclass(frozen=True)
class Deployed:
    """A database made ready by the compose file's own commands, and where the wire is."""

    server: Guarded
    redis_url: str

    def environment(self, service: str, **values: str) -> dict[str, str]:
        return self.server.environment(service, PASSWORDS | values, redis_url=self.redis_url)

    def run(self, service: str, **values: str) -> subprocess.CompletedProcess[str]:
        """A one-shot service, with our own psql and headrace."""
        argv = SERVICES[service]["command"]
        mounts = dict(volume.split(":")[1::-1] for volume in SERVICES[service].get("volumes", []))
        for inside, outside in mounts.items():
            argv = [one.replace(inside, str(ROOT / outside)) for one in argv]
        if argv[0] == "psql":
            argv = [str(binaries.postgres(account.for_servers()) / "psql"), *argv[1:]]
        else:
            argv = [str(BIN / "headrace"), *argv]
        environment = {"PATH": os.environ["PATH"], **self.environment(service, **values)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def deployed(services: Endpoints) -> Iterator[Deployed]:
    with guarded_postgres() as server:
        made = Deployed(server, services.redis_url)
        for service in ("logins", "migrate"):
            done = made.run(service)
            assert done.returncode == 0, done.stderr
        yield made


def test_each_role_is_let_in_by_its_password_only(deployed: Deployed) -> None:
    roles = {f"headrace_{name.partition('_')[0].lower()}": one for name, one in PASSWORDS.items()}
    del roles["headrace_postgres"]
    for role, password in roles.items():
        with deployed.server.connect(role, password) as connection:
            (powers,) = connection.execute(
                "select rolsuper or rolbypassrls or rolcreaterole from pg_roles where rolname = current_user"
            ).fetchone() or (None,)
            assert powers is False, role
        for wrong in ("", *(one for one in PASSWORDS.values() if one != password)):
            with pytest.raises(psycopg.OperationalError, match="password"):
                deployed.server.connect(role, wrong)
    with deployed.server.connect("headrace_deploy", PASSWORDS["DEPLOY_PASSWORD"]) as connection:
        logins = connection.execute(
            "select rolname from pg_roles where rolname ~ '^headrace_' and rolcanlogin"
        ).fetchall()
    assert {role for (role,) in logins} == set(roles), "headrace_owner owns everything and logs in nowhere"


def test_another_password_is_in_force_after_the_next_start(deployed: Deployed) -> None:
    old = PASSWORDS["PRODUCER_PASSWORD"]
    assert deployed.run("logins", PRODUCER_PASSWORD='another\'s "one"').returncode == 0
    deployed.server.connect("headrace_producer", 'another\'s "one"').close()
    with pytest.raises(psycopg.OperationalError, match="password"):
        deployed.server.connect("headrace_producer", old)
    again = deployed.run("logins")
    assert (again.returncode, again.stderr) == (0, "")
    deployed.server.connect("headrace_producer", old).close()
    assert "up to date" in deployed.run("migrate").stdout


def test_a_missing_password_changes_nothing(deployed: Deployed) -> None:
    argv = [binaries.postgres(account.for_servers()) / "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet"]
    environment = {"PATH": os.environ["PATH"], **deployed.environment("logins", DEPLOY_PASSWORD="other")}
    del environment["OPS_PASSWORD"]
    done = subprocess.run(
        [*argv, "--file", ROOT / "deploy" / "logins.sql"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    deployed.server.connect("headrace_deploy", PASSWORDS["DEPLOY_PASSWORD"]).close()


def test_the_procfile_runs_jobs_and_ends_cleanly(deployed: Deployed, tmp_path: Path) -> None:
    """By a Procfile runner, as the compose file's roles with passwords; its health check tells sick from well."""
    environment = deployed.environment("worker")
    with connect(environment["HEADRACE_OPS_DATABASE_URL"]) as ops:
        tenant = tenants.add(ops, name="Acme", plan="pro")
    urls = Urls(
        app=environment["HEADRACE_DATABASE_URL"],
        ops=environment["HEADRACE_OPS_DATABASE_URL"],
        owner="",
        producer="",
        redis=deployed.redis_url,
    )
    fleet = Fleet(urls, tmp_path)
    wire = open_wire(urls.redis, lanes=Settings().lane_weights)
    database = Database(urls.app)
    client = Client(database, wire)
    try:
        fleet.simulator()
        fleet.env |= {"PATH": f"{BIN}:{os.environ['PATH']}", "HEADRACE_LOG_FORMAT": "json"}
        fleet.start("honcho", "honcho", "start", "--procfile", str(ROOT / "Procfile"), "--env", str(tmp_path / "none"))
        assert _ended(client, tenant) is State.SUCCEEDED, fleet.log("honcho")
        eventually(lambda: fleet.log("honcho").count("worker.ready") == 2, why="both worker processes are ready")
        assert _health(fleet) == 0

        assert fleet.end("honcho", with_signal=signal.SIGTERM) == 128 + signal.SIGTERM
        said = fleet.log("honcho")
        for name in procfile():
            assert f"{name}.1 stopped (rc=0)" in re.sub(r"\x1b\[\d*m", "", said), said
        assert (said.count("worker.stopped"), said.count("scheduler.stopped")) == (2, 1), said
        with connect(urls.ops) as ops:
            assert ops.execute("select 1 from headrace.workers where stopped_at is null").fetchall() == []

        waiting = client.enqueue(
            tenant_id=tenant, user_id="ada", feature="chat", messages=[{"role": "user", "content": "Still there?"}]
        )
        assert client.result(waiting, tenant_id=tenant).state is State.QUEUED
        assert _health(fleet) == 1
    finally:
        client.close()
        fleet.close()


def _ended(client: Client, tenant: UUID) -> State:
    job_id = client.enqueue(
        tenant_id=tenant, user_id="ada", feature="chat", messages=[{"role": "user", "content": "Are you there?"}]
    )
    return client.result(job_id, tenant_id=tenant, timeout=60).state


def _health(fleet: Fleet) -> int:
    argv = SERVICES["worker"]["healthcheck"]["test"][1:]
    done = subprocess.run([BIN / argv[0], *argv[1:]], env=fleet.env, capture_output=True, timeout=60, check=False)
    return done.returncode


def test_every_process_of_the_procfile_exists() -> None:
    assert set(procfile()) == {name for name, one in OURS.items() if one.get("restart") == "unless-stopped"}
    for command in procfile().values():
        shell_word, program, *argv = shlex.split(command)
        assert shell_word == "exec", "signals are meant for the program, not for a shell before it"
        assert program in PROJECT["project"]["scripts"]
        check_command(argv)
