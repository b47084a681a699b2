"""How each kind of action is done to a stage, and undone when it has lasted its time.

Doing never fails: what cannot be done at the moment, say because the target is down already, is *missed*, and says so.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import redis

from tests.chaos.schedule import SCHEDULERS, WORKERS, Action, Kind
from tests.chaos.stage import Stage

_LOOK_EVERY_S = 0.02
_LONGER_S = 3.0  # at most, for a worker of which nothing is reclaimed
_AT_WIRE_AFTER_S = 1.1  # by then it has begun a sweep, and it waits two seconds for the wire
_LEAD_WITHIN_S = 1.0
_FULL = 1  # byte: whatever is there is too much, so every write is refused
_LOOK_EVERY_S = 0.03

_SESSIONS = """
    select pid from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' order by pid
"""
_OPEN = """
    select pid, state, query from pg_stat_activity
    where datname = current_database() and usename = %s and state like 'idle in transaction%%'
"""
_LEAD = "select headrace.hold_chore('sweep')"


@dataclass(slots=True)
class Faults:
    """Does actions to one stage and undoes them."""

    stage: Stage
    missed: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    _undo: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def do(self, action: Action) -> None:
        """Do it now; what lasts is undone by :meth:`undo_due`."""
        reason = self._steps()[action.kind](action)
        if reason is not None:
            self.missed.append(f"{action}: {reason}")

    def undo_due(self) -> None:
        """Undo what has lasted its time."""
        now = time.monotonic()
        due = [step for at, step in self._undo if at <= now]
        self._undo = [entry for entry in self._undo if entry[0] > now]
        for step in due:
            step()

    def _steps(self) -> dict[Kind, Callable[[Action], str | None]]:
        return {
            Kind.KILL_WORKER: self._kill,
            Kind.KILL_SCHEDULER: self._kill,
            Kind.FREEZE_WORKER: self._freeze,
            Kind.FREEZE_SCHEDULER: self._freeze,
            Kind.FREEZE_AT_WIRE: self._freeze_at_wire,
            Kind.DRAIN_WORKER: self._drain,
            Kind.WIPE_WIRE: self._wipe_wire,
            Kind.KILL_WIRE: self._kill_wire,
            Kind.FILL_WIRE: self._fill_wire,
            Kind.FREEZE_WIRE: self._freeze_wire,
            Kind.CRASH_POSTGRES: self._crash_postgres,
            Kind.FREEZE_POSTGRES: self._freeze_postgres,
            Kind.KILL_BACKEND: self._kill_backend,
            Kind.CUT_CONNECTIONS: self._cut_connections,
            Kind.FAULTY_PROVIDER: self._faulty_provider,
        }

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        self._undo.append((time.monotonic() + seconds, step))

    # ----------------------------------------------------------------------------------------------- processes

    def _kill(self, action: Action) -> str | None:
        if not self.stage.is_up(action.target):
            return "it is down"
        self.stage.kill(action.target, down_s=action.lasts_s)
        return None

    def _drain(self, action: Action) -> str | None:
        if not self.stage.is_up(action.target):
            return "it is down"
        if self.stage.lives[action.target].told is not None:
            return "it has been told already"  # a second SIGTERM means: leave at once
        self.stage.drain(action.target)
        return None

    def _freeze(self, action: Action) -> str | None:
        return self._frozen_for(action.target, action.lasts_s)

    def _frozen_for(self, name: str, seconds: float) -> str | None:
        if not self.stage.is_up(name):
            return "it is down"
        if self.stage.lives[name].frozen:
            return "it is frozen already"
        process = self.stage.fleet.processes[name]
        reclaimed = self._reclaimed()
        give_up = time.monotonic() + seconds + _LONGER_S
        self.stage.freeze(name)

        def thaw() -> None:
            if process is not self.stage.fleet.processes[name] or process.poll() is not None:
                return
            if name in WORKERS and self._reclaimed() == reclaimed and time.monotonic() < give_up:
                self._after(_LOOK_EVERY_S, thaw)
                return
            self.stage.thaw(name)

        self._after(seconds, thaw)
        return None

    def _reclaimed(self) -> int:
        """How many jobs the schedulers say they took back. Read from their logs: Postgres may be frozen too.

        A worker wakes just after that, while its jobs run elsewhere: then its answers are a zombie's.
        """
        return sum(self.stage.fleet.log(name).count('"job.reclaimed"') for name in SCHEDULERS)

    def _freeze_at_wire(self, action: Action) -> str | None:
        """Stop a scheduler in the middle of a chore: a frozen wire has held it up there, for it sweeps every second."""
        if not self.stage.signal_server("redis", signal.SIGSTOP):
            return "the wire is down"
        self._after(_AT_WIRE_AFTER_S, lambda: self._stop_at_wire(action))
        return None

    def _stop_at_wire(self, action: Action) -> None:
        reason = self._frozen_for(action.target, action.lasts_s)
        self._thaw_wire()
        if reason is not None:
            self.missed.append(f"{action}: {reason}")
            return
        process = self.stage.fleet.processes[action.target]

        def check() -> None:
            if process is self.stage.fleet.processes[action.target] and self.stage.lives[action.target].frozen:
                self._check_holds_nothing(action)

        self._after(action.lasts_s / 2, check)

    def _check_holds_nothing(self, action: Action) -> None:
        """A scheduler that is stopped has no transaction open and keeps no other one from sweeping."""
        try:
            with self._superuser() as connection:
                open_for_long = connection.execute(_OPEN, [action.target]).fetchall()
                # another one that sweeps just now is soon done
                lead = _seen(lambda: connection.execute(_LEAD).fetchone() == (True,), within_s=_LEAD_WITHIN_S)
        except psycopg.OperationalError:
            return
        if open_for_long:
            self.breaches.append(f"a stopped scheduler holds a transaction open: {action}: {open_for_long}")
        if not lead:
            self.breaches.append(f"a stopped scheduler keeps the others from sweeping: {action}")

    # ------------------------------------------------------------------------------------------------ the wire

    def _wipe_wire(self, _action: Action) -> str | None:
        return self._tell_wire(lambda server: server.flushall())

    def _kill_wire(self, _action: Action) -> str | None:
        return None if self.stage.signal_server("redis", signal.SIGKILL) else "it is down"

    def _fill_wire(self, action: Action) -> str | None:
        self._after(action.lasts_s, self._empty_wire)
        return self._tell_wire(lambda server: server.config_set("maxmemory", _FULL))

    def _empty_wire(self) -> None:
        if self._tell_wire(lambda server: server.config_set("maxmemory", 0)) is not None:
            self._after(0.2, self._empty_wire)  # it is frozen or restarts (and is empty then)

    def _freeze_wire(self, action: Action) -> str | None:
        if not self.stage.signal_server("redis", signal.SIGSTOP):
            return "it is down"
        self._after(action.lasts_s, self._thaw_wire)
        return None

    def _thaw_wire(self) -> None:
        self.stage.signal_server("redis", signal.SIGCONT)

    def _tell_wire(self, step: Callable[[redis.Redis], object]) -> str | None:
        try:
            with self.stage.valkey() as server:
                step(server)
        except redis.RedisError as error:
            return f"the wire does not answer: {error}"
        return None

    # ------------------------------------------------------------------------------------------------ Postgres

    def _crash_postgres(self, _action: Action) -> str | None:
        return None if self.stage.signal_server("postgres", signal.SIGQUIT) else "it is down"

    def _freeze_postgres(self, action: Action) -> str | None:
        if self.stage.frozen_postgres:
            return "it is frozen already"
        if not self.stage.freeze_postgres():
            return "it is down"
        self._after(action.lasts_s, self.stage.thaw_postgres)
        return None

    def _kill_backend(self, action: Action) -> str | None:
        try:
            with self._superuser() as connection:
                pids = [row[0] for row in connection.execute(_SESSIONS).fetchall()]
            if not pids:
                return "there is no session"
            os.kill(pids[int(action.draw * len(pids))], signal.SIGKILL)
        except (psycopg.OperationalError, ProcessLookupError) as error:
            return f"no session was caught: {error}"
        return None

    def _cut_connections(self, _action: Action) -> str | None:
        try:
            with self._superuser() as connection:
                connection.execute(f"select pg_terminate_backend(pid) from ({_SESSIONS}) s")
        except psycopg.OperationalError as error:
            return f"Postgres does not answer: {error}"
        return None

    def _superuser(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.stage.superuser_url, autocommit=True, connect_timeout=2)

    # ----------------------------------------------------------------------------------------------- providers

    def _faulty_provider(self, action: Action) -> str | None:
        wanted = {"fault": action.fault, "fault_rate": action.rate}
        if action.fault == "429":
            wanted["retry_after_s"] = round(action.draw, 2)
        self.stage.behave(action.target, **wanted)
        self._after(action.lasts_s, lambda: self.stage.behave(action.target))
        return None


def _seen(look: Callable[[], bool], *, within_s: float) -> bool:
    """Whether ``look`` comes true in time."""
    give_up = time.monotonic() + within_s
    while not look():
        if time.monotonic() >= give_up:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True
