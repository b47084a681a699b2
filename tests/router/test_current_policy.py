"""The policy of a process that runs for weeks: read again for a feature that was published, and seldom."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from errors import ConfigurationError
from router.current_policy import READ_EVERY_S, CurrentPolicy
from router.policy import SHIPPED_POLICY, Policy, load_policy
from tests.support.hand_clock import Clock


class File:
    """A policy file, and how often it was read."""

    def __init__(self, path: Path) -> None:
        self.path, self.reads = path, 0
        self.entries = yaml.safe_load(SHIPPED_POLICY.read_text("utf-8"))
        self.write()

    def write(self, *features: str) -> None:
        self.entries["features"] |= {name: {"description": "New."} for name in features}
        self.path.write_text(yaml.safe_dump(self.entries), "utf-8")

    def read(self) -> Policy:
        self.reads += 1
        return load_policy(self.path)


def test_a_feature_that_is_published_is_found_without_a_restart_and_invented_ones_cost_little(tmp_path: Path) -> None:
    file, clock = File(tmp_path / "policy.yaml"), Clock()
    policies = CurrentPolicy(load_policy(file.path), file.read, clock=clock)
    assert policies.knowing("chat") is policies.now and file.reads == 0
    file.write("telepathy")
    assert "telepathy" in policies.knowing("telepathy").features
    assert "telepathy" in policies.now.features and file.reads == 1
    for n in range(10_000):
        policies.knowing(f"invented_{n}")
    assert file.reads == 1
    clock.now += READ_EVERY_S
    for n in range(10_000):
        policies.knowing(f"invented_{n}")
    assert file.reads == 2


def test_a_file_that_is_broken_or_gone_leaves_the_policy_as_it_was(tmp_path: Path) -> None:
    file, clock = File(tmp_path / "policy.yaml"), Clock()
    policies = CurrentPolicy(load_policy(file.path), file.read, clock=clock)
    before = policies.now
    file.path.write_text("tiers: [", "utf-8")
    assert policies.knowing("telepathy") is before
    clock.now += READ_EVERY_S
    file.path.unlink()
    assert policies.knowing("telepathy") is before and file.reads == 2
    clock.now += READ_EVERY_S
    file.write("telepathy")
    assert "telepathy" in policies.knowing("telepathy").features


def test_of_many_threads_one_reads_and_all_get_what_it_found(tmp_path: Path) -> None:
    file = File(tmp_path / "policy.yaml")
    policies = CurrentPolicy(load_policy(file.path), file.read, clock=Clock())
    file.write("telepathy")
    gate = threading.Barrier(8)

    def ask(_: int) -> bool:
        gate.wait()
        return "telepathy" in policies.knowing("telepathy").features

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert file.reads == 1


def test_a_provider_that_there_is_not_is_told_what_there_is(tmp_path: Path) -> None:
    file = File(tmp_path / "policy.yaml")
    file.entries["tiers"]["cheap"]["primary"]["provider"] = "opneai"
    file.write()
    with pytest.raises(ConfigurationError, match="no such provider") as refused:
        file.read()
    assert str(refused.value.hint).startswith("Did you mean openai? There are: openai, anthropic.")
