"""The parts of the policy that SQL checks at the door: features and lanes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from storage.connect import Connection
from storage.statements import sql


@dataclass(frozen=True, slots=True)
class PublishedFeature:
    """A feature as SQL knows it. ``user_per_minute``: requests a minute of each user in it; None: none of its own."""

    name: str
    description: str
    user_per_minute: int | None = None


def sync_features(connection: Connection, features: Iterable[PublishedFeature]) -> None:
    """Make ``features`` the ones that jobs may name; others are retired, never deleted."""
    published = {one.name: {"description": one.description, "user_per_minute": one.user_per_minute} for one in features}
    connection.execute(sql("policy", "sync_features"), [Jsonb(published)] * 2)


def features(connection: Connection) -> list[str]:
    """The names of the features that jobs may name."""
    return [row["name"] for row in connection.execute(sql("policy", "features")).fetchall()]


def lanes(connection: Connection) -> list[str]:
    """The names of the lanes that jobs may name."""
    return [row["name"] for row in connection.execute(sql("policy", "lanes")).fetchall()]


def sync_lanes(connection: Connection, lanes: Mapping[str, int]) -> None:
    """Make ``lanes`` (name → weight) the ones that jobs may name."""
    connection.execute(sql("policy", "sync_lanes"), [Jsonb(dict(lanes))] * 2)
