"""Behind a base URL: what its own failures may have cost, what it is sent, and what it makes of the model."""

from __future__ import annotations

import pytest

from errors import ProviderAnswerLostError, ProviderUnavailableError
from router.providers.server import ServerHabits
from tests.router.providers.conftest import ADAPTERS, PLATFORM_KEY
from tests.support.refusing_server import refusal


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, ProviderAnswerLostError),
        (502, ProviderAnswerLostError),
        (520, ProviderAnswerLostError),
        (503, ProviderUnavailableError),
        (529, ProviderUnavailableError),
    ],
)
def test_a_gateways_own_failure_may_hide_answers_that_were_billed(provider, adapter_to, told, ask, status, kind):
    told.answer(refusal(provider, "bad_gateway"), status)

    with pytest.raises(kind) as caught:
        adapter_to(provider, told.url).call(ask())

    assert (type(caught.value), caught.value.http_status) == (kind, status)
    assert caught.value.billable is (None if kind is ProviderAnswerLostError else False)


@pytest.mark.parametrize("status", [500, 502])
def test_one_whose_retries_are_off_hides_none(provider, adapter_to, told, ask, status):
    told.answer(refusal(provider, "bad_gateway"), status)

    with pytest.raises(ProviderUnavailableError):
        adapter_to(provider, told.url, habits=ServerHabits(retries=False)).call(ask())


def test_nor_does_the_simulator(provider, adapter_to, told, ask):
    told.answer(refusal(provider, "broken"), 500, x_request_id="req_sim_1", request_id="req_sim_1")

    with pytest.raises(ProviderUnavailableError):
        adapter_to(provider, told.url).call(ask())


def test_the_provider_itself_repeats_nothing(provider):
    assert ADAPTERS[provider](PLATFORM_KEY)._may_have_retried is False


def test_tags_can_be_left_out(provider, adapter_to, told, ask, an_answer):
    told.answer(an_answer())

    adapter_to(provider, told.url, habits=ServerHabits(takes_tags=False)).call(ask())

    assert not {"metadata", "safety_identifier", "service_tier"} & set(told.last_body)


def test_a_body_is_the_same_for_every_attempt_of_a_job(provider, adapter_to, told, ask, an_answer):
    told.answer(an_answer())
    adapter, first = adapter_to(provider, told.url), ask()

    adapter.call(first)
    adapter.call(ask(run_id=first.job_id))

    one, another = (body for _, _, body in told.requests)
    assert one == another
    assert told.requests[0][1]["x-client-request-id"] != told.requests[1][1]["x-client-request-id"]
