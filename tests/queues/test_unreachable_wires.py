"""Why a wire cannot be used: which variable, which part of it, which reason, and never the password."""

from __future__ import annotations

import pytest

from errors import ConfigurationError, ServiceError
from queues.broker_url import open_wire, redis_client
from tests.support.ports import free_port
from tests.support.valkey import PrivateValkey

LANES = {"interactive": 1}
SETTINGS = ("HEADRACE_REDIS_URL", "HEADRACE_BROKER_URL")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("redis://u:geheim@127.0.0.1:{free}/0", "refused"),
        ("redis://u:geheim@no-such-host.invalid/0", "no_such_host"),
        ("redis+cluster://u:geheim@127.0.0.1:{free}", "refused"),
        ("unix:///no/such/socket?password=geheim", "no_socket"),
        ("amqp://u:geheim@127.0.0.1:{free}/v", "refused"),
        ("amqp://u:geheim@no-such-host.invalid/v", "no_such_host"),
    ],
)
def test_the_variable_and_the_reason_are_told(place: str, reason: str, setting: str) -> None:
    wire = open_wire(place.format(free=free_port()), lanes=LANES, setting=setting)
    with pytest.raises(ServiceError) as caught:
        wire.facts()
    wire.close()
    told = caught.value.as_dict()
    (other,) = {*SETTINGS} - {setting}
    assert (told["reason"], told["setting"]) == (reason, setting)
    assert setting in told["hint"]
    assert other not in str(caught.value)
    assert "geheim" not in f"{caught.value} {told}"


def test_a_wrong_password_is_not_a_server_that_is_down() -> None:
    with PrivateValkey(port=free_port()) as server:
        server.client().config_set("requirepass", "richtig")
        reasons = []
        for credentials in ("", "u:geheim@", ":geheim@"):
            wire = open_wire(f"redis://{credentials}127.0.0.1:{server.port}/0", lanes=LANES)
            with pytest.raises(ServiceError, match="refuses the login") as caught:
                wire.facts()
            wire.close()
            assert "geheim" not in str(caught.value)
            reasons.append(caught.value.as_dict()["reason"])
        right = open_wire(f"redis://:richtig@127.0.0.1:{server.port}/0", lanes=LANES)
        assert right.facts().round_trip_s > 0
        right.close()
    assert reasons == ["login"] * 3


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://u:geheim@127.0.0.1:1/0?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("rediss://u:geheim@127.0.0.1:1/0?ssl_cert_reqs=perhaps", "ssl_cert_reqs"),
        ("redis://u:geheim@127.0.0.1:1/0?socket_timeout=soon", "socket_timeout"),
        ("redis+cluster://u:geheim@127.0.0.1:1?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("amqp://u:geheim@127.0.0.1:1/v?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("amqp://u:geheim@127.0.0.1:1/v?heartbeat=often", "heartbeat"),
        ("redis://u:a@geheim/b@127.0.0.1:1/0", "cannot be read"),
        ("redis://u:a@b?geheim=1@127.0.0.1:1/0", "cannot be read"),
        ("amqp://u:a@geheim/b@127.0.0.1:1/v", "cannot be read"),
        ("amqp://u:a@b?geheim=1@127.0.0.1:1/v", "cannot be read"),
    ],
)
def test_the_part_that_is_wrong_is_named_unless_it_may_be_of_a_password(url: str, says: str, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        open_wire(url, lanes=LANES, setting=setting)
    assert caught.value.field == setting
    assert "geheim" not in f"{caught.value} {caught.value.as_dict()} {caught.value.__cause__}"


def test_certificates_need_not_be_checked_where_the_url_says_so() -> None:
    redis_client("rediss://u:pw@127.0.0.1:1/0?ssl_cert_reqs=none").close()
    open_wire("rediss+cluster://u:pw@127.0.0.1:1?ssl_cert_reqs=none", lanes=LANES).close()
