"""The parts of the policy that SQL checks at the door: features and lanes."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from storage.connect import Connection
from storage.statements import sql


def sync_features(connection: Connection, features: Mapping[str, str]) -> None:
    """Make ``features`` (name → description) the ones that jobs may name; others are retired, never deleted."""
    connection.execute(sql("policy", "sync_features"), [Jsonb(dict(features))] * 2)


def sync_lanes(connection: Connection, lanes: Mapping[str, int]) -> None:
    """Make ``lanes`` (name → weight) the ones that jobs may name."""
    connection.execute(sql("policy", "sync_lanes"), [Jsonb(dict(lanes))] * 2)
