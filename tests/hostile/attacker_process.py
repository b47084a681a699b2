"""The attacks of the hostile tenant, from a process of their own.

A tenant does not share an interpreter with its neighbours' services: an attack that keeps one busy must not make the
ordinary tenants' own calls late.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg

from producers import Client
from queues.broker_url import open_wire
from settings import Settings
from storage.db.database import Database
from tests.hostile.attacks import ATTACKS, Attacker
from tests.support.fleet import Urls

_ENDS_WITHIN_S = 60.0
_MOST_BREACHES = 50  # of 500 characters: they fit into a pipe that is not read until the process has ended


@contextmanager
def attacking(
    names: Sequence[str], *, urls: Urls, hostile: UUID, provider_url: str, seed: int, breaches: list[str]
) -> Iterator[None]:
    """Play the attacks that are named for the length of a block; what they met that they should not: ``breaches``."""
    spawn = multiprocessing.get_context("spawn")
    stop, met = spawn.Event(), spawn.Queue()
    process = spawn.Process(target=_attack, args=[tuple(names), urls, hostile, provider_url, seed, stop, met])
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(_ENDS_WITHIN_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        if process.exitcode != 0:
            breaches.append(f"the attacker ended with {process.exitcode}")
        breaches.extend(_all_of(met))


def _attack(
    names: Sequence[str], urls: Urls, hostile: UUID, provider_url: str, seed: int, stop: Any, breaches: Any
) -> None:
    wire = open_wire(urls.redis, lanes=Settings().lane_weights)
    with (
        Database(urls.app, connections=2) as database,
        psycopg.connect(urls.producer, autocommit=True) as producer,
    ):
        dice = random.Random(f"hostile {seed}")
        attacker = Attacker(hostile, Client(database, wire), producer, provider_url, dice)
        due, told = dict.fromkeys(names, 0.0), 0
        while not stop.is_set():
            name = min(due, key=lambda one: due[one])
            if stop.wait(max(0.0, due[name] - monotonic())):
                break
            try:
                ATTACKS[name].do(attacker)
            except Exception as error:  # noqa: BLE001 (what meets the attacker untyped is a finding)
                if told < _MOST_BREACHES:
                    breaches.put(f"{name} was answered with {type(error).__name__}: {error}"[:500])
                told += 1
            due[name] = monotonic() + ATTACKS[name].every_s
    wire.close()


def _all_of(breaches: Any) -> Iterator[str]:
    while True:
        try:
            yield breaches.get(timeout=0.1)
        except Empty:
            return
