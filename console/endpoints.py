"""Where the services are: those that the settings name, and private ones for the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from console.set_urls import (
    PRIVATE,
    PROVIDER_SETTINGS,
    VARIABLES,
    Facts,
    as_set,
    elsewhere,
    left_private,
    private_servers,
    refuse_half_set,
    refuse_without_provider,
    simulated,
)
from embedded import launch, paths, postgres, simulator, valkey
from embedded.launch import EVERY_SERVICE, ServiceName
from embedded.paths import Paths
from embedded.server import Condition
from errors import ConfigurationError
from settings import Settings

Prepare = Callable[[str], object]
"""Makes a fresh database ready for use; it is called with the owner's URL."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """How to connect to every service, and which of them are private ones of a directory.

    The URLs and keys may hold secrets, so they stay out of the repr.
    """

    database_url: str = field(repr=False)
    ops_database_url: str | None = field(repr=False)
    owner_database_url: str | None = field(repr=False)
    redis_url: str | None = field(repr=False)  # None: the wire is elsewhere, and no request rate is enforced
    broker_url: str = field(repr=False)
    openai_api_key: str | None = field(repr=False)
    anthropic_api_key: str | None = field(repr=False)
    openai_base_url: str | None = field(repr=False)
    anthropic_base_url: str | None = field(repr=False)
    simulator_url: str | None
    embedded: frozenset[str]

    def environment(self) -> dict[str, str]:
        """The same facts as environment variables, without those that are unset.

        The wire is named only where it is not the Redis: an error should name the variable that was set.
        """
        facts = {name: getattr(self, name) for name in VARIABLES}
        if self.broker_url == self.redis_url:
            facts["broker_url"] = None
        return _variables(facts)

    @property
    def wire_setting(self) -> str:
        """The name of the variable that held the wire's URL."""
        return VARIABLES["redis_url" if self.broker_url == self.redis_url else "broker_url"]

    def require_ops(self) -> str:
        """The URL for ``headrace_ops``.

        :raises ConfigurationError: only the application's URL was set.
        """
        return _required(self.ops_database_url, "HEADRACE_OPS_DATABASE_URL", "headrace_ops")

    def require_owner(self) -> str:
        """The URL for a member of ``headrace_owner``.

        :raises ConfigurationError: only the application's URL was set.
        """
        return _required(self.owner_database_url, "HEADRACE_OWNER_DATABASE_URL", "a member of headrace_owner")


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The state of one private service."""

    name: str
    condition: Condition
    pid: int | None
    started_at: str | None  # UTC, ISO 8601
    restarts: int  # since its keeper started
    address: str | None
    detail: str | None  # the end of its log, if it failed


@contextmanager
def endpoints(
    settings: Settings, *, needs: Collection[ServiceName] = EVERY_SERVICE, prepare: Prepare | None = None
) -> Iterator[Endpoints]:
    """The services for the length of a block: those that are set, and private ones, started if need be, for the rest.

    :param needs: the services that have to be up; of other private ones only the address is told.
    :param prepare: what to do with a private database before it is used; by default it is migrated and provisioned.
    :raises ConfigurationError: the settings contradict each other, or private services cannot run here.
    :raises ServiceError: a private server did not start.
    """
    check_whole(settings, needs)
    private = private_services(settings)
    services = private & frozenset(needs)
    if not services:
        yield _resolve(settings, private, paths.known_paths(paths.paths_of(settings.dir)))
        return
    with launch.held_up(settings.dir, services, prepare=prepare or _provisioner(settings)) as here:
        yield _resolve(settings, private, here)


def start(
    directory: Path,
    *,
    which: Collection[ServiceName] | None = None,
    settings: Settings | None = None,
    prepare: Prepare | None = None,
) -> Endpoints:
    """Start the private services of a directory and leave them up until :func:`stop`.

    :param which: the services to start; by default those that ``settings`` leave unset.
    :param settings: where the other services are; by default nothing is set.
    :param prepare: what to do with the database before it is used; by default it is migrated and provisioned.
    :raises ConfigurationError: a service is neither started nor set, or private services cannot run here.
    :raises ServiceError: a private server did not start.
    """
    named = (settings or _nothing_set()).model_copy(update={"dir": directory})
    services = private_services(named) if which is None else frozenset(which)
    _check_complete(named, services)
    if not services:
        return _resolve(named, services, paths.known_paths(paths.paths_of(directory)))
    with launch.held_up(directory, services, prepare=prepare or _provisioner(named), stay=True) as here:
        return _resolve(named, services, here)


def stop(directory: Path) -> bool:
    """Stop the private services of a directory, even if other processes use them; returns whether they were up.

    :raises ConfigurationError: the directory belongs to another user.
    """
    return launch.take_down(directory)


def status(directory: Path) -> list[ServiceStatus]:
    """The state of each private service of a directory.

    :raises ConfigurationError: the directory belongs to another user.
    """
    states = launch.states(directory)
    here = paths.known_paths(paths.paths_of(directory))
    found = []
    for name in EVERY_SERVICE:
        state = states.get(name)
        if state is None:
            found.append(ServiceStatus(name, "stopped", None, None, 0, None, None))
        else:
            found.append(
                ServiceStatus(
                    name,
                    state.condition,
                    state.pid,
                    state.started_at,
                    state.restarts,
                    _address(name, here),
                    state.detail,
                )
            )
    return found


def running_environment(directory: Path) -> dict[str, str]:
    """The environment variables that lead to the private services of a directory that run now."""
    here = paths.known_paths(paths.paths_of(directory))
    up = {entry.name for entry in status(directory) if entry.condition in ("running", "restarting")}
    facts: dict[str, str | None] = {}
    for name in EVERY_SERVICE:
        if name in up:
            facts |= _private(name, here)
    return _variables(facts)


def private_services(settings: Settings) -> frozenset[ServiceName]:
    """The services that the settings leave to private servers of ``settings.dir``.

    A URL that leads to that directory's own servers counts as unset: a shell that evaluated the output of ``headrace
    services env`` starts them again when they are down.
    """
    return left_private(as_set(settings), elsewhere(settings, paths.known_paths(paths.paths_of(settings.dir))))


def check_whole(settings: Settings, needs: Collection[str]) -> None:
    """Refuse settings that name some of the needed services and leave others unset.

    :raises ConfigurationError: which variable is missing, or contradicts another one.
    """
    here = paths.known_paths(paths.paths_of(settings.dir))
    said, facts = as_set(settings), elsewhere(settings, here)
    refuse_half_set(said, facts, needs, private_servers(here))
    if "simulator" in needs:
        refuse_without_provider(said, facts)


def _provisioner(settings: Settings) -> Prepare:
    def prepare(owner_url: str) -> None:
        # imported here, so that a command whose services are all set does not load the code that makes a database
        from console.provisioning import provision

        provision(
            owner_url,
            lanes=settings.lane_weights,
            routing_policy=settings.routing_policy,
            prompts_dir=settings.prompts_dir,
        )

    return prepare


def _check_complete(settings: Settings, services: frozenset[ServiceName]) -> None:
    for name, setting, url in (
        ("postgres", "HEADRACE_DATABASE_URL", settings.database_url),
        ("redis", "HEADRACE_REDIS_URL", settings.redis_url or settings.broker_url),
    ):
        if name not in services and url is None:
            raise ConfigurationError("is unset, and no private server is to be started for it", field=setting)


def _resolve(settings: Settings, services: frozenset[ServiceName], here: Paths) -> Endpoints:
    said, others = as_set(settings), elsewhere(settings, here)
    facts: Facts = {**said, "broker_url": others["broker_url"], **{name: others[name] for name in PROVIDER_SETTINGS}}
    facts["simulator_url"] = None if others["simulator_url"] == PRIVATE else others["simulator_url"]
    for name in services:
        facts |= _private(name, here)
    if any(others[name] for name in PROVIDER_SETTINGS):
        facts["simulator_url"] = None  # a setting that leads to a provider counts, and no default replaces it
    elif (named := facts["simulator_url"]) is not None:
        facts |= simulated(named)
    broker_url = facts["broker_url"] or facts["redis_url"]
    assert facts["database_url"] is not None, "checked before anything is started"
    assert broker_url is not None, "checked before anything is started"
    return Endpoints(
        database_url=facts["database_url"],
        ops_database_url=facts["ops_database_url"],
        owner_database_url=facts["owner_database_url"],
        redis_url=facts["redis_url"],
        broker_url=broker_url,
        openai_api_key=facts["openai_api_key"],
        anthropic_api_key=facts["anthropic_api_key"],
        openai_base_url=facts["openai_base_url"],
        anthropic_base_url=facts["anthropic_base_url"],
        simulator_url=facts["simulator_url"],
        embedded=frozenset(services),
    )


def _private(name: ServiceName, here: Paths) -> Facts:
    if name == "simulator":
        url = simulator.url(here)
        return simulated(url) if url else {}
    mine = ("database_url", "ops_database_url", "owner_database_url") if name == "postgres" else ("redis_url",)
    servers = private_servers(here)
    return {setting: servers[setting] for setting in mine}


def _address(name: ServiceName, here: Paths) -> str | None:
    if name == "postgres":
        return postgres.url(here, "headrace_app")
    return valkey.url(here) if name == "redis" else simulator.url(here)


def _variables(facts: Mapping[str, str | None]) -> dict[str, str]:
    return {variable: value for name, variable in VARIABLES.items() if (value := facts.get(name)) is not None}


def _required(url: str | None, setting: str, role: str) -> str:
    if url is None:
        raise ConfigurationError(
            "is unset, and this needs it",
            field=setting,
            hint=f"HEADRACE_DATABASE_URL is set, so set this one too, to the same database as {role}.",
        )
    return url


def _nothing_set() -> Settings:
    """Settings that do not read the environment."""
    return Settings.model_construct(**{name: entry.default for name, entry in Settings.model_fields.items()})
