"""Which services are private ones, and what leads to them."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from console.connect import child_environment
from console.endpoints import check_whole, endpoints, private_services, running_environment, start
from console.set_urls import private_servers, simulated
from embedded import paths
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
        ({"database_url": "postgresql://a/b"}, {"redis"}),
        ({"database_url": "postgresql://a/b", "broker_url": "amqp://a"}, set()),
        ({"redis_url": "redis://a"}, {"postgres"}),
        ({"broker_url": "amqp://a"}, {"postgres", "redis"}),
        ({"database_url": "postgresql://a/b", "redis_url": "redis://a", "simulator_url": "private"}, {"simulator"}),
        ({"anthropic_api_key": "sk"}, {"postgres", "redis"}),
        ({"openai_base_url": "http://gateway/v1"}, {"postgres", "redis"}),
        ({"simulator_url": "http://127.0.0.1:1"}, {"postgres", "redis"}),
    ],
)
def test_private_services_are_those_that_nothing_is_set_for(given, facts, private):
    assert private_services(given(**facts)) == private


DATABASE = {"database_url": "postgresql://a/b"}
SERVERS = {**DATABASE, "redis_url": "redis://a"}
KEYS = "OPENAI_API_KEY, ANTHROPIC_API_KEY"


@pytest.mark.parametrize(
    ("facts", "needs", "field", "says"),
    [
        ({"owner_database_url": "postgresql://a/b"}, ["postgres"], "HEADRACE_DATABASE_URL", "HEADRACE_OWNER_DATABASE"),
        ({"ops_database_url": "postgresql://a/b"}, ["postgres"], "HEADRACE_DATABASE_URL", "HEADRACE_OPS_DATABASE_URL"),
        ({"redis_url": "redis://a"}, ["postgres"], "HEADRACE_DATABASE_URL", "unset, though HEADRACE_REDIS_URL"),
        ({"broker_url": "amqp://a"}, ["postgres"], "HEADRACE_DATABASE_URL", "unset, though HEADRACE_BROKER_URL"),
        (DATABASE, ["postgres", "redis"], "HEADRACE_REDIS_URL", "unset, though HEADRACE_DATABASE_URL"),
        (SERVERS, ["simulator"], KEYS, "no provider key is set"),
        (
            {**SERVERS, "openai_api_key": "sim-openai"},
            ["simulator"],
            "OPENAI_API_KEY, ANTHROPIC_API_KEY",
            "no provider",
        ),
        ({**SERVERS, "simulator_url": "yes"}, ["simulator"], "HEADRACE_SIMULATOR_URL", "neither a URL"),
        ({"simulator_url": "http://a", "openai_api_key": "sk"}, ["simulator"], "HEADRACE_SIMULATOR_URL", "OPENAI_API"),
        (
            {"simulator_url": "private", "openai_base_url": "http://a"},
            ["simulator"],
            "HEADRACE_SIMULATOR_URL",
            "_BASE_",
        ),
    ],
)
def test_a_variable_that_is_lost_is_not_made_up_for(given, facts, needs, field, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        check_whole(given(**facts), needs)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("facts", "needs"),
    [
        ({}, ["postgres", "redis", "simulator"]),
        (DATABASE, ["postgres"]),
        (SERVERS, ["postgres", "redis"]),
        ({**SERVERS, "anthropic_api_key": "sk"}, ["postgres", "redis", "simulator"]),
        ({**SERVERS, "openai_base_url": "http://a/v1"}, ["postgres", "redis", "simulator"]),
        ({**SERVERS, "simulator_url": "private"}, ["postgres", "redis", "simulator"]),
        ({**SERVERS, "simulator_url": "http://a"}, ["postgres", "redis", "simulator"]),
        ({**DATABASE, "broker_url": "amqp://a", "openai_api_key": "sk"}, ["postgres", "redis", "simulator"]),
        ({"openai_api_key": "sk"}, ["postgres", "redis", "simulator"]),
    ],
)
def test_what_is_whole_is_taken(given, facts, needs):
    check_whole(given(**facts), needs)


def test_without_a_redis_beside_another_wire_none_is_started(given):
    with endpoints(given(**DATABASE, broker_url="amqp://a", openai_api_key="sk")) as found:
        assert (found.redis_url, found.broker_url, found.embedded) == (None, "amqp://a", frozenset())
        assert found.wire_setting == "HEADRACE_BROKER_URL"


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
    # to another directory those of this one are servers like any others
    assert private_services(settings.model_copy(update={"dir": home.directory / "other"})) == set()
    # one of them that leads elsewhere contradicts the rest of its kind
    for name, field in (("ops_database_url", "HEADRACE_DATABASE_URL"), ("database_url", "HEADRACE_OPS_DATABASE_URL")):
        mixed = settings.model_copy(update={name: SecretStr("postgresql://a/b")})
        with pytest.raises(ConfigurationError, match="leads to the private server") as caught:
            check_whole(mixed, ["postgres"])
        assert caught.value.field == field


@pytest.mark.parametrize("name", ["database_url", "ops_database_url", "owner_database_url"])
@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda url: url.replace("postgresql://", "postgresql//"), "the database URL cannot be read"),
        (lambda url: f"postgresql://nobody@{url.partition('@')[2]}", "the user 'nobody' instead of"),
        (lambda url: f"postgresql:///{url.partition('@/')[2]}", "is a URL of the private server, but with no user"),
        (lambda url: url.replace("port=5432", "port=1"), "with the port '1' instead of '5432'"),
        (lambda url: url.replace("@/headrace?", "@/other?"), "the database 'other' instead of 'headrace'"),
        (lambda url: f"{url}&connect_timeout=3", "with other parameters than it is known by"),
    ],
    ids=["malformed", "user", "no user", "port", "database", "parameter"],
)
def test_a_mistake_in_a_private_url_is_told_of_that_url(given, tmp_path, name, mistake, says):
    private = private_servers(paths.known_paths(paths.paths_of(tmp_path / "unused")))

    with pytest.raises(ConfigurationError, match=says) as caught:
        check_whole(given(**{**private, name: mistake(private[name])}), ["postgres"])
    assert caught.value.field == f"HEADRACE_{name.upper()}"
    assert "of your own" not in caught.value.message


class Shell:
    """The shell that README sets up, whose private simulator is the one at ``url``."""

    url = "http://127.0.0.1:7"

    def __init__(self, given, monkeypatch):
        self._given = given
        monkeypatch.setattr("embedded.simulator.url", lambda _place: self.url)
        for name in ("postgres", "redis"):
            monkeypatch.setattr(f"console.endpoints.{'valkey' if name == 'redis' else name}.url", self._private)

    def settings(self, **changes):
        facts = {**simulated(self.url), "database_url": "private://headrace_app", "redis_url": "private://"}
        return self._given(**{**facts, "ops_database_url": "private://headrace_ops", **changes})

    @staticmethod
    def _private(_place, role=""):
        return f"private://{role}"

    def resolved(self, **changes):
        """What a worker that ``headrace worker`` starts in this shell is handed."""
        with endpoints(self.settings(**changes), needs=()) as found:
            return found


@pytest.fixture
def shell(given, monkeypatch):
    return Shell(given, monkeypatch)


def test_a_base_url_that_is_set_counts_in_the_shell_of_the_private_services(shell):
    found = shell.resolved(openai_base_url="http://gateway/v1")

    assert found.embedded == {"postgres", "redis"}
    # a server that asks for no key takes any, and the other provider is not made up
    assert (found.openai_base_url, found.openai_api_key) == ("http://gateway/v1", "sim-openai")
    assert (found.anthropic_base_url, found.anthropic_api_key, found.simulator_url) == (None, None, None)


def test_a_key_that_is_set_counts_there_and_goes_to_its_provider(shell):
    found = shell.resolved(anthropic_api_key="sk-real")

    assert found.embedded == {"postgres", "redis"}
    assert (found.anthropic_api_key, found.anthropic_base_url) == ("sk-real", None)
    assert (found.openai_api_key, found.openai_base_url, found.simulator_url) == (None, None, None)


def test_the_simulator_of_that_shell_answers_nobody_elsewhere(shell):
    own = {"database_url": "postgresql://a/b", "ops_database_url": "postgresql://o/b", "redis_url": "redis://a"}

    with pytest.raises(ConfigurationError, match="no provider key is set"):
        check_whole(shell.settings(**own), ["simulator"])
    assert shell.resolved().embedded == {"postgres", "redis", "simulator"}


def test_a_child_process_gets_what_counts_and_nothing_else(shell, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "HEADRACE_OPENAI_API_KEY", "headrace_simulator_url", "HEADRACE_BROKER_URL"):
        monkeypatch.setenv(name, "left over")
    monkeypatch.setenv("UNRELATED", "kept")

    env = child_environment(shell.resolved(openai_base_url="http://gateway/v1"))

    assert "left over" not in env.values()
    assert (env["UNRELATED"], env["OPENAI_API_KEY"]) == ("kept", "sim-openai")
