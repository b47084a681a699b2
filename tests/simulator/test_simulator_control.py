"""The journal and the behaviour of the simulator, over HTTP."""

from __future__ import annotations

import pytest

HEADERS = {"Authorization": "Bearer k", "X-Client-Request-Id": "run-1"}
HELLO = {"model": "gpt-5.4-mini", "input": "Hello"}


def post(simulator, *, times: int = 1, headers: dict = HEADERS) -> list[int]:
    return [simulator.control.post("/v1/responses", json=HELLO, headers=headers).status_code for _ in range(times)]


def test_the_journal_tells_each_call_in_order(simulator, ask_anthropic):
    post(simulator)
    message = ask_anthropic(extra_headers={"X-Client-Request-Id": "run-2"})
    post(simulator, headers={"Authorization": "Bearer k"})

    first, second, third = simulator.journal()
    assert set(first) == {
        "provider",
        "model",
        "client_request_id",
        "request_id",
        "status",
        "fault",
        "input_tokens",
        "output_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "at",
    }
    assert (first["provider"], first["model"], first["client_request_id"]) == ("openai", "gpt-5.4-mini", "run-1")
    assert (second["provider"], second["request_id"]) == ("anthropic", message._request_id)
    assert third["client_request_id"] is None
    assert first["at"] <= second["at"] <= third["at"]
    assert first["request_id"] != third["request_id"]


def test_the_journal_can_be_read_from_an_entry_on_and_cleared(simulator):
    post(simulator, times=3)

    assert simulator.journal(since=1) == simulator.journal()[1:]
    assert simulator.journal(since=3) == []
    assert simulator.control.delete("/_sim/journal").json() == {"cleared": 3}
    assert simulator.journal() == []


@pytest.mark.parametrize("since", ["-1", "x", "1.5"])
def test_a_bad_offset_is_refused(simulator, since):
    response = simulator.control.get("/_sim/journal", params={"since": since})

    assert response.status_code == 422
    assert response.json()["error"]["field"] == "since"


def test_the_models_are_no_call(simulator):
    simulator.control.get("/v1/models", headers=HEADERS)

    assert simulator.journal() == []


def test_behaviour_is_told_and_changed_field_by_field(simulator):
    simulator.behave(openai={"latency_ms": [0, 1], "fault": "429", "fault_rate": 0.5, "retry_after_s": 3})
    told = simulator.behave(openai={"fault_rate": 0.25})

    assert told["openai"] == {
        "latency_ms": [0.0, 1.0],
        "fault": "429",
        "fault_rate": 0.25,
        "fault_count": None,
        "retry_after_s": 3.0,
        "service_tier": None,
    }
    assert told["anthropic"]["fault"] == "none"
    assert simulator.control.get("/_sim/behaviour").json() == told


def test_a_named_fault_starts_afresh(simulator):
    simulator.behave(openai={"latency_ms": 1, "fault": "429", "fault_rate": 0.5, "fault_count": 9, "retry_after_s": 3})
    told = simulator.behave(openai={"fault": 500})

    assert told["openai"] == {
        "latency_ms": 1.0,
        "fault": "500",
        "fault_rate": 1.0,
        "fault_count": None,
        "retry_after_s": None,
        "service_tier": None,
    }


def test_counted_faults_run_out(simulator):
    simulator.behave(openai={"fault": "500", "fault_count": 2})

    assert post(simulator, times=4) == [500, 500, 200, 200]
    assert simulator.control.get("/_sim/behaviour").json()["openai"]["fault"] == "none"


def test_a_count_of_zero_is_no_fault(simulator):
    simulator.behave(openai={"fault": "500", "fault_count": 0})

    assert post(simulator) == [200]


def test_refused_requests_use_up_no_fault(simulator):
    simulator.behave(openai={"fault": "500", "fault_count": 1})
    bad = simulator.control.post("/v1/responses", json={"model": "gpt-5.4"}, headers=HEADERS)

    assert bad.status_code == 400
    assert post(simulator, times=2) == [500, 200]


def test_the_seed_and_the_number_of_the_call_decide(serve_here):
    def drawn(seed: int) -> list[int]:
        with serve_here(seed=seed) as simulator:
            simulator.behave(openai={"fault": "500", "fault_rate": 0.3})
            return post(simulator, times=60)

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert 6 <= first.count(500) <= 30


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"openai": {"fault": "melt"}}, "openai.fault"),
        ({"openai": {"fault": True}}, "openai.fault"),
        ({"openai": {"fault_rate": 1.5}}, "openai.fault_rate"),
        ({"openai": {"fault_count": -1}}, "openai.fault_count"),
        ({"openai": {"fault_count": 1.5}}, "openai.fault_count"),
        ({"openai": {"retry_after_s": "soon"}}, "openai.retry_after_s"),
        ({"anthropic": {"latency_ms": -1}}, "anthropic.latency_ms"),
        ({"anthropic": {"latency_ms": [9, 3]}}, "anthropic.latency_ms"),
        ({"anthropic": {"latency_ms": [1]}}, "anthropic.latency_ms"),
        ({"anthropic": {"latency_ms": "1"}}, "anthropic.latency_ms"),
        ({"anthropic": {"speed": 1}}, "anthropic.speed"),
        ({"google": {}}, "google"),
        ([], "body"),
    ],
)
def test_bad_behaviour_is_refused_by_name_and_changes_nothing(simulator, body, field):
    before = simulator.control.get("/_sim/behaviour").json()
    response = simulator.control.put("/_sim/behaviour", json=body)

    assert response.status_code == 422
    assert response.json()["error"]["field"] == field
    assert simulator.control.get("/_sim/behaviour").json() == before
