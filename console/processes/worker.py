"""One worker process: the composition root that ``headrace worker`` starts N times.

    python -m console.processes.worker --threads 16 --parent 4711

Reads the settings, builds everything once, hands it on. SIGTERM drains: no new turns, running calls end, and jobs whose
call has not begun are handed back. It also drains when its parent is gone, so that no process outlives a killed
``headrace worker``.
"""

from __future__ import annotations

import argparse
import sys
import threading
from dataclasses import asdict

import dramatiq
import structlog

from console.composition import START_HINT, rates_from, wire_from
from console.processes.logs import configure_logs, log_uncaught
from console.processes.stop import StopRequests
from errors import ConfigurationError, HeadraceError, RetryableError
from queues.broker import TurnBroker
from router.breakers import Breakers
from router.gateway import Gateway, build_providers
from router.policy import load_policy
from router.providers.server import ServerHabits
from router.providers.whole import AnswerLimits
from router.pseudonyms import Pseudonyms
from router.tokens import count_o200k
from settings import Settings, reveal
from storage.catalogue.deployment import pseudonym_key
from storage.db.database import Database
from storage.db.ids import new_id
from storage.db.logins import refuse_unsafe_role
from wording import needed
from workers import actors
from workers.backoff import Backoff
from workers.heartbeat import Heartbeat
from workers.pipeline import Pipeline
from workers.trouble_log import TroubleLog
from workers.turn_account import TurnAccount

log = structlog.get_logger("headrace.worker")
START_WITHIN_S = 10.0  # how long Postgres may be away during a start; after that the supervisor tries again
_HEART_CHECK_S = 0.5  # how soon the loss of the heartbeat shows
# A computing thread yields the interpreter after this time, s (CPython's own: 0.005). A claim hands the interpreter
# over some ten times, so each computing thread of another job delays it by ten times this.
_SWITCH_S = 0.001


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; the exit code (0: drained, 1: start it again, 2: it cannot start).

    1: a service is away, or the heartbeat of this process failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m console.processes.worker", description="One Headrace worker process."
    )
    parser.add_argument("--threads", type=int, default=16, help="jobs at once")
    parser.add_argument("--parent", type=int, default=0, help="drain when this process is gone")
    given = parser.parse_args(arguments)
    settings = Settings()
    configure_logs(settings)
    log_uncaught()
    sys.setswitchinterval(_SWITCH_S)
    try:
        return run(settings, threads=given.threads, parent=given.parent)
    except HeadraceError as error:
        log.critical("worker.cannot_start", **error.as_dict())
        print(f"headrace worker: {error}", file=sys.stderr)  # noqa: T201
        return 1 if isinstance(error, RetryableError) else 2


def run(settings: Settings, *, threads: int, parent: int = 0) -> int:
    """Build the process's parts, work until told to stop, drain. Returns the exit code: 1 when the heartbeat failed."""
    code = 0
    draining = threading.Event()
    stopping = threading.Event()
    worker_id = new_id()
    StopRequests(
        stopping.set, parent=parent, orphaned=lambda: log.warning("worker.orphaned", worker_id=str(worker_id))
    ).start()
    database_url = needed(reveal(settings.database_url), "HEADRACE_DATABASE_URL", hint=START_HINT)
    ops_url = needed(reveal(settings.ops_database_url), "HEADRACE_OPS_DATABASE_URL", hint=START_HINT)
    with (
        Database(database_url, connections=min(16, threads // 4 + 3)) as database,
        Database(ops_url, connections=1, setting="HEADRACE_OPS_DATABASE_URL") as operations,
    ):
        database.retry_until_answered(lambda connection: refuse_unsafe_role(connection), within_s=START_WITHIN_S)
        operations.retry_until_answered(
            lambda connection: refuse_unsafe_role(connection, setting="HEADRACE_OPS_DATABASE_URL", role="headrace_ops"),
            within_s=START_WITHIN_S,
        )
        wire = wire_from(settings)
        providers = build_providers(
            reveal(settings.openai_api_key),
            settings.openai_base_url,
            reveal(settings.anthropic_api_key),
            settings.anthropic_base_url,
            AnswerLimits(bytes=settings.answer_max_bytes, characters=settings.answer_max_chars),
            ServerHabits(retries=settings.gateway_retries, takes_tags=settings.call_tags),
        )
        if not providers:
            raise ConfigurationError(
                "no provider key is set",
                field="OPENAI_API_KEY, ANTHROPIC_API_KEY",
                hint="Set one; for a server that needs no key, any text will do. "
                "For invented answers: HEADRACE_SIMULATOR_URL=private and `headrace worker`.",
            )
        # Load the vocabulary. It holds the interpreter lock for a second of CPU time, so this must come before the
        # heartbeat.
        count_o200k([""])
        trouble = TroubleLog()
        breakers = Breakers(
            fail_max=settings.breaker_fail_max, reset_s=settings.breaker_reset_s, on_change=trouble.breaker_changed
        )
        gateway = Gateway(providers, breakers)
        heartbeat = Heartbeat(
            operations,
            worker_id,
            every_s=settings.heartbeat_s,
            silent_s=settings.worker_silent_s,
            threads=threads,
            jobs_database=database,
            providers=lambda: {name: asdict(condition) for name, condition in gateway.conditions().items()},
        )
        pipeline = Pipeline(
            worker_id=worker_id,
            database=database,
            turns=TurnAccount(wire, turns_per_tenant=settings.turns_per_tenant),
            gateway=gateway,
            policy=load_policy(settings.routing_policy),
            read_policy=lambda: load_policy(settings.routing_policy),
            pseudonyms=Pseudonyms(database.retry_until_answered(lambda c: pseudonym_key(c), within_s=START_WITHIN_S)),
            rates=rates_from(settings),
            backoff=Backoff(settings.max_attempts, settings.retry_base_s, settings.retry_cap_s),
            call_timeout_s=settings.call_timeout_s,
            claim_timeout_s=settings.claim_timeout_s,
            held_most_s=settings.held_max_s,
            draining=draining,
            may_claim=heartbeat.may_claim,
            trouble=trouble,
        )
        broker = TurnBroker(wire)
        dramatiq.set_broker(broker)
        actors.declare(broker, pipeline)
        heartbeat.start()
        worker = dramatiq.Worker(broker, worker_threads=threads)
        worker.start()
        simulated = {"simulated": True} if _is_simulated(settings) else {}
        log.info("worker.ready", worker_id=str(worker_id), threads=threads, providers=sorted(providers), **simulated)

        while not stopping.wait(_HEART_CHECK_S):
            why = heartbeat.lost()
            if why is not None:
                log.critical("worker.heart_lost", worker_id=str(worker_id), error=why)
                code = 1
                break
            trouble.tell_suppressed()

        log.info("worker.draining", worker_id=str(worker_id))
        draining.set()
        heartbeat.draining()
        worker.stop(timeout=round(settings.drain_s * 1000))
        heartbeat.stop()
        broker.close()
        trouble.tell_suppressed(last=True)
        log.info("worker.stopped", worker_id=str(worker_id))
    return code


def _is_simulated(settings: Settings) -> bool:
    """Whether the answers are invented. `headrace worker` passes the simulator's URL on only where it is used."""
    bases = [url for url in (settings.openai_base_url, settings.anthropic_base_url) if url is not None]
    return settings.simulator_url is not None and any(url.startswith(settings.simulator_url) for url in bases)


if __name__ == "__main__":
    sys.exit(main())
