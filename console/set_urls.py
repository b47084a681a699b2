"""The services elsewhere that the settings name, and the settings that must not stay unset.

A setting that leads to the private servers of the directory does not name a server elsewhere: a shell that evaluated
the output of ``headrace services env`` has them all. So such a value counts as unset, and so does a value that leads to
a simulator, unless ``HEADRACE_SIMULATOR_URL`` names it.

A private server must not replace a variable that is lost in a deployment: jobs would go to a database that is not read
by any worker, and tenants would be answered, and billed, with invented text. So a half-set environment is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from pydantic import SecretStr

from embedded import postgres, simulator, valkey
from embedded.launch import ServiceName
from embedded.paths import Paths
from errors import ConfigurationError
from settings import Settings

Facts: TypeAlias = dict[str, str | None]
"""Setting → value, of every setting that leads to a service."""

VARIABLES: Final = {
    "database_url": "HEADRACE_DATABASE_URL",
    "ops_database_url": "HEADRACE_OPS_DATABASE_URL",
    "owner_database_url": "HEADRACE_OWNER_DATABASE_URL",
    "redis_url": "HEADRACE_REDIS_URL",
    "broker_url": "HEADRACE_BROKER_URL",
    "openai_api_key": "OPENAI_API_KEY",
    "anthropic_api_key": "ANTHROPIC_API_KEY",
    "openai_base_url": "HEADRACE_OPENAI_BASE_URL",
    "anthropic_base_url": "HEADRACE_ANTHROPIC_BASE_URL",
    "simulator_url": "HEADRACE_SIMULATOR_URL",
}
PROVIDER_SETTINGS: Final = ("openai_api_key", "anthropic_api_key", "openai_base_url", "anthropic_base_url")

PRIVATE: Final = "private"
"""As the value of ``HEADRACE_SIMULATOR_URL``: the private simulator, wherever the other services are."""

_DATABASES = ("database_url", "ops_database_url", "owner_database_url")
_SERVERS = (*_DATABASES, "redis_url", "broker_url")
_ALL_OR_NONE = (
    "Set every URL of your own servers, or none of them for private ones (`headrace services env` prints those)."
)


def as_set(settings: Settings) -> Facts:
    """The settings that lead to services, as they are."""
    return {name: _text(getattr(settings, name)) for name in VARIABLES}


def elsewhere(settings: Settings, here: Paths) -> Facts:
    """The settings that lead elsewhere than to private servers; the others are None."""
    facts = as_set(settings)
    for name, url in private_servers(here).items():
        if facts[name] == url:
            facts[name] = None
    named, ours = facts["simulator_url"], simulator.url(here)
    if named == ours:
        facts["simulator_url"] = None
    for provider, key in (("openai", simulator.OPENAI_KEY), ("anthropic", simulator.ANTHROPIC_KEY)):
        base_name, key_name = f"{provider}_base_url", f"{provider}_api_key"
        bases = {simulated(url)[base_name] for url in (named, ours) if url is not None}
        if (facts[base_name] or "").rstrip("/") in bases:
            facts[base_name] = None
        if facts[base_name] is None and facts[key_name] == key:
            facts[key_name] = None
    return facts


def private_servers(here: Paths) -> dict[str, str]:
    """The settings that lead to the private Postgres and Valkey of a directory."""
    return {
        "database_url": postgres.url(here, "headrace_app"),
        "ops_database_url": postgres.url(here, "headrace_ops"),
        "owner_database_url": postgres.url(here, postgres.OWNER),
        "redis_url": valkey.url(here),
        "broker_url": valkey.url(here),
    }


def simulated(url: str) -> Facts:
    """The settings that lead to the simulator at ``url`` for both providers."""
    return {
        "simulator_url": url,
        "openai_api_key": simulator.OPENAI_KEY,
        "anthropic_api_key": simulator.ANTHROPIC_KEY,
        "openai_base_url": f"{url.rstrip('/')}/v1",
        "anthropic_base_url": url.rstrip("/"),
    }


def left_private(said: Mapping[str, str | None], facts: Mapping[str, str | None]) -> frozenset[ServiceName]:
    """The services that are left to private servers, by :func:`as_set` and :func:`elsewhere`."""
    services: set[ServiceName] = set()
    if not any(facts[name] for name in _DATABASES):
        services.add("postgres")
    # With a wire and a database elsewhere, a Redis is optional: without it no request rate is enforced.
    without = said["redis_url"] is None and facts["broker_url"] and facts["database_url"]
    if facts["redis_url"] is None and not without:
        services.add("redis")
    wholly_private = not any(facts[name] for name in _SERVERS)
    if not any(facts[name] for name in PROVIDER_SETTINGS) and (
        facts["simulator_url"] == PRIVATE or (facts["simulator_url"] is None and wholly_private)
    ):
        services.add("simulator")
    return frozenset(services)


def refuse_half_set(
    said: Mapping[str, str | None],
    facts: Mapping[str, str | None],
    needs: Collection[str],
    private: Mapping[str, str],
) -> None:
    """Refuse settings that leave it open which server is used.

    :param said: :func:`as_set`; ``facts``: :func:`elsewhere`; ``private``: :func:`private_servers`.
    :raises ConfigurationError: a URL is unset, or leads to a private server, though another one leads elsewhere; or
        that other one cannot be read, or is a private server's URL with a mistake in it.
    """
    other = next((VARIABLES[name] for name in _SERVERS if facts[name]), None)
    if other is None:
        return
    databases_elsewhere = [name for name in _DATABASES if facts[name]]
    if databases_elsewhere:
        for name in _DATABASES:
            if facts[name] is None and (name == "database_url" or said[name] is not None):
                for other_name in databases_elsewhere:
                    _refuse_mistaken(other_name, facts[other_name] or "", private[other_name])
                raise _half_set(name, said[name], VARIABLES[databases_elsewhere[0]])
    elif "postgres" in needs and said["database_url"] is None:
        raise _half_set("database_url", None, other)
    if "redis" in needs and databases_elsewhere and said["redis_url"] is None and facts["broker_url"] is None:
        raise _half_set("redis_url", None, other)


def refuse_without_provider(said: Mapping[str, str | None], facts: Mapping[str, str | None]) -> None:
    """Refuse to answer jobs if the settings do not say which provider or simulator answers.

    :raises ConfigurationError: no provider is set and no simulator is named, or both are.
    """
    named = facts["simulator_url"]
    provider = next((VARIABLES[name] for name in PROVIDER_SETTINGS if facts[name]), None)
    if named is not None and named != PRIVATE and not named.startswith(("http://", "https://")):
        raise ConfigurationError(
            "is neither a URL of a simulator (http://…) nor `private`", field=VARIABLES["simulator_url"], value=named
        )
    if named is not None and provider is not None:
        raise ConfigurationError(
            f"is set, and so is {provider}: only one of them can answer",
            field=VARIABLES["simulator_url"],
            hint="Unset HEADRACE_SIMULATOR_URL for real answers, or the provider's variables for invented ones.",
        )
    if named is None and provider is None and "simulator" not in left_private(said, facts):
        other = next(VARIABLES[name] for name in _SERVERS if facts[name])
        raise ConfigurationError(
            "no provider key is set",
            field="OPENAI_API_KEY, ANTHROPIC_API_KEY",
            hint=f"Set one. {other} leads to a server of your own, so the simulator is used only when it is asked for: "
            "HEADRACE_SIMULATOR_URL=private.",
        )


def _refuse_mistaken(name: str, url: str, private: str) -> None:
    """Refuse a database URL that leads to no server: it is a private server's URL with a mistake in it."""
    # imported here, so that a command whose settings are in order does not load Postgres's library for this
    from storage.db.connect import parts_of

    given, ours = parts_of(url, setting=VARIABLES[name]), parts_of(private)
    if given.get("host") != ours["host"]:
        return
    others = [
        f"the {spoken} {given[part][:60]!r} instead of {ours[part]!r}" if given.get(part) else f"no {spoken}"
        for part, spoken in (("user", "user"), ("port", "port"), ("dbname", "database"))
        if given.get(part) != ours[part]
    ]
    raise ConfigurationError(
        f"is a URL of the private server, but with {' and '.join(others) or 'other parameters than it is known by'}",
        field=VARIABLES[name],
        hint="Set it as `headrace services env` prints it, or unset every URL.",
    )


def _half_set(name: str, value: str | None, other: str) -> ConfigurationError:
    what = "is unset" if value is None else "leads to the private server"
    hint = _ALL_OR_NONE
    if name == "database_url":
        hint = f"Set it to the application's role (headrace_app). {_ALL_OR_NONE}"
    return ConfigurationError(f"{what}, though {other} leads to a server of your own", field=VARIABLES[name], hint=hint)


def _text(value: SecretStr | str | None) -> str | None:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
