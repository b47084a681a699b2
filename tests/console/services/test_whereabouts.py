"""Which services are private ones, and what leads to them."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from console.services import endpoints, start
from console.services.whereabouts import private_services, running_environment
from errors import ConfigurationError
from settings import Settings


@pytest.fixture
def given(blank, tmp_path):
    def make(**facts):
        secret = {name for name in facts if name.endswith("_key") or (name.endswith("_url") and "_base_" not in name)}
        secret.discard("simulator_url")
        values = {name: SecretStr(value) if name in secret else value for name, value in facts.items()}
        return blank.model_copy(update={"dir": tmp_path / "unused", **values})

    return make


def test_what_is_set_is_used_and_nothing_is_started(given, tmp_path):
    settings = given(
        database_url="postgresql://app:secret@db/x",
        redis_url="redis://:secret@cache/0",
        broker_url="amqp://wire",
        openai_api_key="sk-secret",
    )

    with endpoints(settings) as found:
        assert found.embedded == frozenset()
        assert found.environment() == {
            "HEADRACE_DATABASE_URL": "postgresql://app:secret@db/x",
            "HEADRACE_REDIS_URL": "redis://:secret@cache/0",
            "HEADRACE_BROKER_URL": "amqp://wire",
            "OPENAI_API_KEY": "sk-secret",
        }
        assert "secret" not in repr(found)
        with pytest.raises(ConfigurationError, match="HEADRACE_OPS_DATABASE_URL"):
            found.require_ops()
        with pytest.raises(ConfigurationError, match="HEADRACE_OWNER_DATABASE_URL"):
            found.require_owner()
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(
    ("facts", "private"),
    [
        ({}, {"postgres", "redis", "simulator"}),
        ({"database_url": "postgresql://a/b"}, {"redis", "simulator"}),
        ({"redis_url": "redis://a"}, {"postgres", "simulator"}),
        ({"broker_url": "amqp://a"}, {"postgres", "redis", "simulator"}),
        ({"anthropic_api_key": "sk"}, {"postgres", "redis"}),
        ({"openai_base_url": "http://gateway/v1"}, {"postgres", "redis"}),
        ({"simulator_url": "http://127.0.0.1:1"}, {"postgres", "redis"}),
    ],
)
def test_private_services_are_those_that_nothing_is_set_for(given, facts, private):
    assert private_services(given(**facts)) == private


def test_other_database_urls_alone_are_refused(given):
    with pytest.raises(ConfigurationError, match="HEADRACE_DATABASE_URL"):
        private_services(given(owner_database_url="postgresql://a/b"))


def test_a_service_that_is_neither_started_nor_set_is_refused(given, tmp_path):
    with pytest.raises(ConfigurationError, match="HEADRACE_REDIS_URL"):
        start(tmp_path / "unused", which=("postgres",))


def test_a_simulator_elsewhere_stands_in_for_both_providers(given):
    settings = given(database_url="postgresql://a/b", redis_url="redis://a", simulator_url="http://127.0.0.1:9")

    with endpoints(settings) as found:
        assert found.embedded == frozenset()
        assert (found.openai_api_key, found.openai_base_url) == ("sim-openai", "http://127.0.0.1:9/v1")
        assert (found.anthropic_api_key, found.anthropic_base_url) == ("sim-anthropic", "http://127.0.0.1:9")


def test_our_own_urls_in_the_environment_count_as_unset(home, blank, monkeypatch):
    home.start()
    for name, value in running_environment(home.directory).items():
        monkeypatch.setenv(name, value)
    settings = Settings(dir=home.directory)

    assert settings.database_url is not None
    assert private_services(settings) == {"postgres", "redis", "simulator"}
    assert private_services(settings.model_copy(update={"dir": home.directory / "other"})) == {"simulator"}
