"""What jobs are expected to use follows what they used, for each tenant and feature apart, within bounds."""

from __future__ import annotations

import pytest

from workers import expected_tokens
from workers.expected_tokens import MOST_OFF, ExpectedTokens


def test_a_stranger_is_like_anybody_and_then_as_he_is_himself() -> None:
    expected = ExpectedTokens()
    assert expected.of("ada", "chat", 500) == 500

    for _ in range(5):
        expected.learn("ada", "chat", estimated=500, used=200)

    assert expected.of("ada", "chat", 1000) == pytest.approx(400)
    assert expected.of("ben", "chat", 1000) == pytest.approx(400)
    assert expected.of("ada", "report", 1000) == 1000
    for _ in range(100):
        expected.learn("ben", "chat", estimated=500, used=500)
    assert expected.of("ada", "chat", 1000) == pytest.approx(400)


def test_one_job_moves_it_by_an_eighth() -> None:
    expected = ExpectedTokens()
    expected.learn("ada", "chat", estimated=100, used=100)
    expected.learn("ada", "chat", estimated=100, used=900)
    assert expected.of("ada", "chat", 100) == pytest.approx(200)


def test_it_believes_nothing_absurd() -> None:
    expected = ExpectedTokens()
    expected.learn("ada", "chat", estimated=1, used=10**9)
    expected.learn("ben", "chat", estimated=10**9, used=1)
    expected.learn("cyd", "chat", estimated=0, used=5)
    assert expected.of("ada", "chat", 1) == MOST_OFF
    assert expected.of("ben", "chat", 64) == 1
    assert expected.of("cyd", "chat", 1) == 5


def test_who_was_seen_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_tokens, "MOST_KEPT", 2)
    expected = ExpectedTokens()
    for tenant, used in (("ada", 2), ("ben", 50), ("ada", 2), ("cyd", 2)):
        expected.learn(tenant, "chat", estimated=1, used=used)
    assert [expected.of(tenant, "chat", 1) for tenant in ("ada", "cyd")] == [2, 2]
    assert expected.of("ben", "chat", 1) < 10
