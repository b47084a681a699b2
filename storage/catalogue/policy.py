"""The parts of the policy that SQL checks at the door: features and lanes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from errors import UnknownFeatureError, UnknownLaneError
from storage.db import names
from storage.db.connect import Connection
from storage.db.statements import sql


@dataclass(frozen=True, slots=True)
class PublishedFeature:
    """A feature as SQL knows it.

    ``user_per_minute``: requests a minute of each user in it; None: none of its own. ``max_input_chars``: its longest
    input, characters; None: the worker alone knows.
    """

    name: str
    description: str
    user_per_minute: int | None = None
    max_input_chars: int | None = None


def sync_features(connection: Connection, features: Iterable[PublishedFeature]) -> None:
    """Make ``features`` the ones that jobs may name; others are retired, never deleted."""
    published = {
        one.name: {
            "description": one.description,
            "user_per_minute": one.user_per_minute,
            "max_input_chars": one.max_input_chars,
        }
        for one in features
    }
    connection.execute(sql("catalogue/policy", "sync_features"), [Jsonb(published)] * 2)


def features(connection: Connection) -> dict[str, int | None]:
    """The features that jobs may name → requests a minute of each user in it (None: none of its own)."""
    return {
        row["name"]: row["user_per_minute"]
        for row in connection.execute(sql("catalogue/policy", "features")).fetchall()
    }


def is_published(connection: Connection, feature: str) -> bool:
    """Whether jobs may name this feature now."""
    return connection.execute(sql("catalogue/policy", "is_published"), [feature]).fetchone() is not None


def lanes(connection: Connection) -> dict[str, int]:
    """The lanes that jobs may name → their weights."""
    return {row["name"]: row["weight"] for row in connection.execute(sql("catalogue/policy", "lanes")).fetchall()}


def known_feature(connection: Connection, given: str, *, retired: bool = False) -> str:
    """The feature that is meant, by its name. ``retired``: also one that the routing policy no longer has.

    :raises InvalidInputError: it cannot be a name.
    :raises UnknownFeatureError: jobs cannot name it; the error says what there is.
    """
    name = names.clean_name(given, field="feature", most=names.LONGEST_FEATURE)
    known = features(connection)
    if name in known or (retired and was_there(connection, "feature", name)):
        return name
    raise UnknownFeatureError(field="feature", value=name, hint=names.did_you_mean(name, known))


def known_lane(connection: Connection, given: str, *, retired: bool = False) -> str:
    """The lane that is meant, by its name. ``retired``: also one that is no longer configured.

    :raises InvalidInputError: it cannot be a name.
    :raises UnknownLaneError: jobs cannot name it; the error says what there is.
    """
    name = names.clean_name(given, field="lane", most=names.LONGEST_LANE)
    known = lanes(connection)
    if name in known or (retired and was_there(connection, "lane", name)):
        return name
    hint = names.did_you_mean(name, known, more="HEADRACE_LANE_WEIGHTS names the lanes.")
    raise UnknownLaneError(field="lane", value=name, hint=hint)


def was_there(connection: Connection, kind: str, name: str) -> bool:
    """Whether there is, or was, a feature or a lane (``kind``) of this name."""
    return connection.execute(sql("catalogue/policy", "was_there"), {"kind": kind, "name": name}).fetchone() is not None


def sync_lanes(connection: Connection, lanes: Mapping[str, int]) -> None:
    """Make ``lanes`` (name → weight) the ones that jobs may name."""
    connection.execute(sql("catalogue/policy", "sync_lanes"), [Jsonb(dict(lanes))] * 2)
