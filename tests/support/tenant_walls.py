"""What keeps tenants apart, read off one database.

Each check returns what it found wrong. So a test can run it on a database in which a wall was taken down,
and see it turn
red (test_walls.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from storage.db.ids import new_id

Connection = psycopg.Connection[Any]
APP, OPS, PRODUCER, OWNER = "headrace_app", "headrace_ops", "headrace_producer", "headrace_owner"

# Tables without a tenant, each with the reason why that is right.
OF_NO_TENANT = {
    "plans": "the platform's own price list of plans",
    "features": "the routing policy",
    "lanes": "the configuration",
    "model_prices": "public prices",
    "workers": "processes, not data",
    "schedulers": "processes, not data",
    "wake_signals": "whether schedulers listen, not data",
    "deployment": "the key of pseudonyms: of the whole deployment",
    "chores": "how the schedulers do, not data",
    "slots": "reached only inside functions",
    "slot_shares": "reached only inside functions: a transaction that frees a slot has to find the next tenant",
    "chore_locks": "locked, by operators",
    "caps_guard_models": "locked inside functions",
    **{f"caps_guard_{n}": "locked inside functions" for n in range(8)},
    "schema_migrations": "the schema's own history",
    "tenants": "bound by its id",
}

#: Of those, what the application may read: the same for all tenants.
READ_BY_ALL = {"plans", "features", "lanes", "model_prices", "deployment"}

#: Tables with a tenant that the application may not even read.
NOT_READ = {"wakes", "set_aside", "producer_bindings", "job_request"}

#: What the application may execute, and the producers.
EXECUTABLE = {
    APP: {
        "enqueue", "enqueue_batch", "claim", "begin", "settle", "group_commit_of_tenant", "group_commit", "cancel",
        "quote", "quote_requests", "quote_many", "enqueue_many", "result", "current_tenant", "now", "time_of",
    },
    PRODUCER: {"enqueue", "enqueue_many", "result"},
}  # fmt: skip

#: Keys that go with the tenant though they are not called so.
_CARRIES_TENANT = {"tenant_id", "prompt_of_whom"}

_COMMANDS = ("select", "insert", "update", "delete", "truncate", "references", "trigger", "maintain")


@dataclass(frozen=True)
class World:
    """One database with two tenants in it, in a transaction of the server's superuser that is never committed."""

    db: Connection
    a: UUID
    b: UUID
    as_a: dict[str, Any]  # ids of A's own things: tenant, job (running), claim, run, worker, prompt, key
    as_b: dict[str, Any]

    @contextmanager
    def session(self, role: str, tenant: UUID | None = None) -> Iterator[Connection]:
        """Everything in the block is done as if this role had logged in, and is undone at its end."""
        with self.db.transaction(force_rollback=True):
            self.db.execute(sql.SQL("set local session authorization {}").format(sql.Identifier(role)))
            self.db.execute("select set_config('app.tenant_id', %s, true)", [str(tenant or "")])
            yield self.db


def fill(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two tenants with rows in every table: by the functions where they lead there, else by hand. The ids of each."""
    things: list[dict[str, Any]] = []
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("select headrace.set_concurrency(null, 'model', 'openai:gpt-6-luna', 3, false, 'x')")
        for which in ("a", "b"):
            tenant = new_id()
            owner.execute(
                "insert into headrace.tenants (id, name, plan, external_id, stripe_customer_id)"
                " values (%s, %s, 'pro', %s, %s)",
                [tenant, which, which, which],
            )
            for scope, key in (("lane", "interactive"), ("feature", "chat")):
                owner.execute("select headrace.set_concurrency(%s, %s, %s, 3, false, 'x')", [tenant, scope, key])
            mine = {"tenant": tenant, "prompt": new_id(), "key": f"k-{which}"}
            with psycopg.connect(make_conninfo(url, user=APP), autocommit=True) as app:
                mine |= _work(app, tenant, mine["key"])
            _by_hand(owner, tenant, mine["prompt"])
            things.append(mine)
    return things[0], things[1]


def _work(app: Connection, tenant: UUID, key: str) -> dict[str, Any]:
    """Jobs at each stage of life; the ids of the running one."""
    worker = new_id()
    done: dict[str, Any] = {"worker": worker}
    asked = {"user_id": "u", "feature": "chat", "messages": [{"role": "user", "content": "Hello"}]}
    jobs = [asked | {"idempotency_key": key}, asked, asked, asked | {"run_at": "2030-01-01T00:00:00Z"}]
    app.execute("select headrace.enqueue_batch(%s, %s, true)", [tenant, Jsonb(jobs)])
    for ends in (True, False):
        claim, run = new_id(), new_id()
        row = app.execute(
            "select job_id from headrace.claim(%s, 'interactive', %s, %s, 300, 64)", [tenant, claim, worker]
        ).fetchone()
        assert row is not None
        begun = app.execute(
            "select verdict from headrace.begin(%s, %s, %s, %s, 'answer', 'openai', 'gpt-6-luna', 'cheap', 'r',"
            " false, 50, 50)",
            [tenant, row[0], claim, run],
        ).fetchone()
        assert begun == ("granted",)
        done |= {"job": row[0], "claim": claim, "run": run}
        if ends:
            usage = {"id": str(run), "status": "succeeded", "input_tokens": 1, "output_tokens": 1}
            outcome = {
                "outcome": "succeeded",
                "run_id": str(run),
                "output": "x",
                "finish": "complete",
                "max_output_tokens": 1,
            }
            app.execute(
                "select headrace.settle(%s, %s, %s, %s, 'ended', %s)",
                [tenant, row[0], claim, Jsonb(usage), Jsonb(outcome)],
            )
    return done


def _by_hand(owner: Connection, tenant: UUID, prompt: UUID) -> None:
    facts = {"t": tenant, "id": prompt}
    statements: tuple[LiteralString, ...] = (
        "insert into headrace.prompts (id, tenant_id, name, version, body, max_output_tokens, content_hash)"
        " values (%(id)s, %(t)s, 'own', 1, '## user' || chr(10) || 'x', 10, '')",
        "insert into headrace.prompt_pointers (tenant_id, name, prompt_id) values (%(t)s, 'own', %(id)s)",
        "insert into headrace.prompt_history (tenant_id, name, to_prompt_id, actor) values (%(t)s, 'own', %(id)s, 'x')",
        "insert into headrace.job_events (tenant_id, job_id, event) values (%(t)s, %(id)s, 'x')",
        "insert into headrace.outbox (tenant_id, topic, payload) values (%(t)s, 'x', '{}')",
        "insert into headrace.rates (tenant_id, scope, key, per_minute) values (%(t)s, 'user', 'u', 1000)",
        "insert into headrace.tenant_prices (tenant_id, effective_from) values (%(t)s, '2026-01-01')",
        "insert into headrace.set_aside (tenant_id, chore, error, until) values (%(t)s, 'x', 'x', now())",
        "insert into headrace.producer_bindings (login, tenant_id) values ('x', %(t)s)",
        "insert into headrace.provider_keys"
        " (id, tenant_id, provider, ciphertext, wrapped_key, master_key_id, last_four)"
        " values (%(id)s, %(t)s, 'openai', '', '', 'k', 'abcd')",
        "insert into headrace.chunks (id, tenant_id, document, ordinal, content, model, embedding)"
        " values (%(id)s, %(t)s, 'd', 0, 'c', 'm', '[1,2,3]')",
        "insert into headrace.slot_shares (cap_key, of_tenant, waiting)"
        " values ('model:openai:gpt-6-luna', %(t)s, false)",
    )
    for statement in statements:
        owner.execute(statement, facts)


# ---------------------------------------------------------------------------------------------- what the catalogue says


def relations(owner: Connection) -> dict[str, bool]:
    """Every table and view, and whether it has a tenant; partitions belong to their parent."""
    rows = owner.execute(
        """select c.relname, exists (select from pg_attribute a where a.attrelid = c.oid
                  and a.attname = 'tenant_id' and not a.attisdropped)
           from pg_class c where c.relnamespace = 'headrace'::regnamespace
             and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition"""
    ).fetchall()
    return dict(rows)


def privileges(world: World) -> Iterator[str]:
    """Who may do what to each table, column, sequence, and to the schema: what is written down, and nothing else."""
    owner = world.db
    known = relations(owner)
    yield from (f"{name} is not known" for name in {n for n, t in known.items() if not t} ^ set(OF_NO_TENANT))
    may_read = READ_BY_ALL | {name for name, tenant in known.items() if tenant} - NOT_READ | {"tenants"}
    rows = owner.execute(
        """select c.relname, c.relispartition, r.rolname, p.name from pg_class c
           cross join (select rolname from pg_roles where rolname = any (%s) union all select 'public') r(rolname)
           cross join unnest(%s::text[]) p(name)
           where c.relnamespace = 'headrace'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
             and has_table_privilege(r.rolname, c.oid, p.name)""",
        [[APP, PRODUCER], list(_COMMANDS)],
    ).fetchall()
    granted = {(name, role, command) for name, _part, role, command in rows}
    wanted = {(name, APP, "select") for name in may_read}
    yield from (f"{role} may {command} {name}" for name, role, command in granted - wanted)
    yield from (f"{role} may not {command} {name}" for name, role, command in wanted - granted)
    for name, role, command in owner.execute(
        """select c.relname, %s, p.name from pg_class c cross join unnest(array['truncate', 'references', 'trigger',
'maintain']) p(name)
           where c.relnamespace = 'headrace'::regnamespace and c.relkind in ('r', 'p')
             and has_table_privilege(%s, c.oid, p.name)
             and (c.relname, p.name) <> ('queue', 'maintain')  -- the scheduler vacuums it
           union all
           select c.relname, %s, p.name from pg_class c cross join unnest(array['update', 'delete']) p(name)
           where c.relnamespace = 'headrace'::regnamespace and c.relname in ('model_prices', 'audit', 'prompts',
           'prompt_history', 'results')
             and has_table_privilege(%s, c.oid, p.name)""",
        [OPS] * 4,
    ):
        yield f"{role} may {command} {name}"
    yield from (
        f"{what} {name}: {acl}"
        for what, name, acl in owner.execute(
            """select 'column', a.attrelid::regclass::text || '.' || a.attname, a.attacl::text from pg_attribute a
               join pg_class c on c.oid = a.attrelid
               where c.relnamespace = 'headrace'::regnamespace and a.attacl is not null
               union all
               select 'sequence', c.relname, r.rolname from pg_class c cross join (values ('headrace_app'),
               ('headrace_producer'), ('public')) r(rolname)
               where c.relnamespace = 'headrace'::regnamespace and c.relkind = 'S'
                 and has_sequence_privilege(r.rolname, c.oid, 'usage, select, update')
               union all
               select 'default privileges', d.defaclobjtype::text, d.defaclacl::text from pg_default_acl d
               where d.defaclnamespace in (0, 'headrace'::regnamespace)
               union all
               select 'create in the schema', 'headrace', r.rolname from (values ('headrace_app'),
               ('headrace_ops'), ('headrace_producer'), ('public')) r(rolname)
               where has_schema_privilege(r.rolname, 'headrace', 'create')
               union all
               select 'use of the schema', 'headrace', 'public' where has_schema_privilege('public', 'headrace',
               'usage')
               union all
               select 'owner of', c.relname, pg_get_userbyid(c.relowner) from pg_class c
               where c.relnamespace = 'headrace'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
                 and pg_get_userbyid(c.relowner) <> 'headrace_owner'"""
        )
    )


def policies(world: World) -> Iterator[str]:
    """Row security on, forced and with its two policies on every table with a tenant and its partitions; views ask as
    their caller."""
    current = "\\( SELECT headrace\\.current_tenant\\(\\) AS current_tenant\\)"
    mine = f"\\(tenant_id = {current}\\)"
    or_default = f"\\({mine} OR \\(\\(tenant_id IS NULL\\) AND \\({current} IS NOT NULL\\)\\)\\)"
    owner = world.db
    for name, kind, partition, secured, forced, invoker, tenant in owner.execute(
        """select c.relname, c.relkind::text, c.relispartition, c.relrowsecurity, c.relforcerowsecurity,
                  coalesce(c.reloptions @> array['security_invoker=true'], false),
                  c.relname = 'tenants' or exists (select from pg_attribute a where a.attrelid = c.oid
                                                   and a.attname = 'tenant_id' and not a.attisdropped)
           from pg_class c where c.relnamespace = 'headrace'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')"""
    ).fetchall():
        if kind != "v" and tenant and not (secured and forced):
            yield f"{name}: row security is not {'forced' if secured else 'on'}"
        if kind == "v" and not invoker:
            yield f"the view {name} asks as its owner"
        if kind in ("m", "f"):
            yield f"{name} can have no row security"
        if kind == "v" or not tenant:
            continue
        found = {
            row[0]: tuple(row[1:])
            for row in owner.execute(
                """select p.polname, p.polcmd::text, p.polpermissive, array(
                       select case when r = 0 then 'public' else pg_get_userbyid(r)::text end
                       from unnest(p.polroles) r order by 1),
                       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
                   from pg_policy p where p.polrelid = format('headrace.%%I', %s::text)::regclass""",
                [name],
            )
        }
        if partition:
            yield from (f"{name} has a policy of its own: {one}" for one in found)
            continue
        bound = found.pop("tenant_bound", None)
        with_defaults = name in ("prompts", "prompt_pointers", "prompt_history", "concurrency")
        pattern, check = (or_default if with_defaults else mine), mine
        if name == "tenants":
            pattern = check = mine.replace("tenant_id =", "id =")
        if (
            bound is None
            or bound[:3] != ("*", True, [APP, OWNER])
            or not re.fullmatch(pattern, bound[3] or "")
            or not re.fullmatch(check, bound[4] or "")
        ):
            yield f"{name}: tenant_bound is {bound}"
        if (operators := found.pop("operators", None)) != ("*", True, [OPS], "true", "true"):
            yield f"{name}: operators is {operators}"
        others = {"billing_daily": {"exported_stays"}, "producer_bindings": {"own_login"}}.get(name, set())
        yield from (f"{name}: the policy {one} is not known" for one in set(found) - others)
        yield from (f"{name}: no policy {one}" for one in others - set(found))
        for one in others & set(found):
            command, permissive, roles, qual, _check = found[one]
            wanted = {
                "exported_stays": ("w", False, ["public"], "(exported_at IS NULL)"),
                "own_login": ("r", True, [OWNER], "(login = SESSION_USER)"),
            }[one]
            if (command, permissive, roles, qual) != wanted:
                yield f"{name}: {one} is {found[one]}"


def functions(world: World) -> Iterator[str]:
    """Who may execute what, and how what runs as its owner is shut."""
    owner = world.db
    for name, kind, definer, settings, owned_by, public, app, producer in owner.execute(
        """select p.proname, p.prokind::text, p.prosecdef, coalesce(p.proconfig, '{}'), pg_get_userbyid(p.proowner),
                  has_function_privilege('public', p.oid, 'execute'),
                  has_function_privilege('headrace_app', p.oid, 'execute'),
                  has_function_privilege('headrace_producer', p.oid, 'execute')
           from pg_proc p where p.pronamespace = 'headrace'::regnamespace
             and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"""
    ):
        if owned_by != OWNER:
            yield f"{name} belongs to {owned_by}"
        if public:
            yield f"everybody may execute {name}"
        if app != (name in EXECUTABLE[APP]) or producer != (name in EXECUTABLE[PRODUCER]):
            yield f"{name}: executable by app {app}, by producers {producer}"
        if definer and "search_path=pg_catalog, pg_temp" not in settings:
            yield f"{name} runs as its owner with the caller's search_path"
        if (app or producer) and not definer and name not in ("current_tenant", "now", "time_of"):
            yield f"{name} runs as its caller, who may write nothing"
        if kind == "p":
            yield f"{name} is a procedure, which could commit for its caller"


def keys(world: World) -> Iterator[str]:
    """A foreign key between tables with a tenant carries it."""
    owner = world.db
    for name, table, columns, other, others in owner.execute(
        """select k.conname, k.conrelid::regclass::text,
                  array(select a.attname::text
                  from unnest(k.conkey) n join pg_attribute a on a.attrelid = k.conrelid and a.attnum = n),
                  k.confrelid::regclass::text, array(
                  select a.attname::text
                  from unnest(k.confkey) n join pg_attribute a on a.attrelid = k.confrelid and a.attnum = n)
           from pg_constraint k where k.connamespace = 'headrace'::regnamespace and k.contype = 'f'"""
    ):
        has = owner.execute(
            "select bool_and(exists (select from pg_attribute a"
            "                        where a.attrelid = t::regclass and a.attname = 'tenant_id'))"
            " from unnest(%s::text[]) t",
            [[table, other]],
        ).fetchone()
        if has == (True,) and not _CARRIES_TENANT & set(columns):
            yield f"{table}: {name} leads to {other} without the tenant"
        if other == "headrace.tenants" and (columns, others) != (["tenant_id"], ["id"]):
            yield f"{table}: {name} leads to a tenant by {columns}"
    if ("headrace.prompt_pointers",) not in owner.execute(
        "select conrelid::regclass::text from pg_constraint where conname = 'prompt_pointers_prompt_fkey'"
    ).fetchall():
        yield "prompt_pointers: nothing keeps a pointer with its own tenant's prompts"


def roles(world: World) -> Iterator[str]:
    """No role of ours passes row security by, none is a member of another."""
    owner = world.db
    for row in owner.execute(
        "select rolname, 'superuser or bypassrls' from pg_roles"
        " where rolname like 'headrace\\_%' and (rolsuper or rolbypassrls)"
        " union all select m.member::regrole::text, m.roleid::regrole::text from pg_auth_members m"
        " where m.member::regrole::text in ('headrace_app', 'headrace_ops', 'headrace_producer', 'headrace_owner')"
    ):
        yield " is ".join(row)


# ------------------------------------------------------------------------------------------------ what a session can do


def rows_seen(world: World) -> Iterator[str]:
    """Every table × command × role: none without a tenant, A's alone as A, all as an operator, none as a producer."""
    owner = world.db
    names = [name for name, tenant in relations(owner).items() if tenant]
    for name in names:  # the check is worth nothing for a table that is empty
        (tenants,) = owner.execute(
            sql.SQL("select count(distinct tenant_id) from headrace.{}").format(sql.Identifier(name))
        ).fetchone() or (0,)
        if tenants != 2:
            yield f"{name} holds no rows of both tenants: fill it"
    for name in names:
        column = sql.SQL("select tenant_id from headrace.{}").format(sql.Identifier(name))
        for tenant in (None, world.a):
            with world.session(APP, tenant) as app:
                try:
                    seen = {row[0] for row in app.execute(column)}
                except psycopg.errors.InsufficientPrivilege:
                    continue
            if tenant is None and seen:
                yield f"{name}: rows are seen without a tenant"
            if not seen <= {world.a, None}:
                yield f"{name}: as A rows of B are seen"
            if tenant is not None and world.a not in seen:
                yield f"{name}: as A its own rows are not seen"
        with world.session(OPS) as ops:
            if not {world.a, world.b} <= {row[0] for row in ops.execute(column)}:
                yield f"{name}: an operator does not see every tenant"
    for tenant in (None, world.a):
        with world.session(APP, tenant) as app:
            if {row[0] for row in app.execute("select id from headrace.tenants")} != {tenant} - {None}:
                yield "tenants: another one is seen, or not its own"
    commands: tuple[LiteralString, ...] = (
        "insert into headrace.{} default values", "delete from headrace.{}", "truncate headrace.{}",
        "select from headrace.{} for update", "lock table headrace.{} in row share mode",
    )  # fmt: skip
    tables = [
        row[0]
        for row in owner.execute(
            "select relname from pg_class where relnamespace = 'headrace'::regnamespace and relkind in ('r', 'p')"
        ).fetchall()
    ]
    for role in (APP, PRODUCER):
        for name in tables:
            for command in commands:
                with world.session(role, world.a) as session:
                    try:
                        session.execute(sql.SQL(command).format(sql.Identifier(name)))
                    except psycopg.errors.InsufficientPrivilege:
                        continue
                    except psycopg.Error as error:
                        yield f"{role}: {command.format(name)} meets {type(error).__name__}"
                        continue
                    yield f"{role}: {command.format(name)} is allowed"


# --------------------------------------------------------------------------------------- functions and a stranger's ids

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(?:\+00(?::00)?)?")

#: Arguments that are ids of things, by function and name: whose B's are is tried. All others have a plain value.
_PLAIN: dict[str, Any] = {
    "p_lane": "interactive", "lane": "interactive", "p_feature": "chat", "feature": "chat", "p_user": "u",
    "user_id": "u",
    "p_timeout_s": 300.0, "p_w": 64, "p_repeat": False, "p_kind": "answer", "p_provider": "openai",
    "p_model": "gpt-6-luna", "p_tier": "cheap", "p_route_rule": "r", "p_fallback": False,
    "p_input_bound": 50, "p_max_output": 50,
    "p_min_output": None,
    "p_key_owner": "platform", "p_later": Jsonb([]), "p_processing": "standard", "p_verdict": "ended", "p_by": "x",
    "p_wait": True, "p_wake": True, "p_rank": 1, "p_calls": Jsonb([]), "prompt": None, "variables": None,
    "context": None,
    "messages": Jsonb([{"role": "user", "content": "x"}]), "output_schema": None, "max_output_tokens": None,
    "run_at": None,
    "deadline": None, "on_over_budget": "fail", "on_unknown": "retry", "force_tier": None, "metadata": None,
    "estimated_tokens": None,
}  # fmt: skip
_TENANT = {"p_tenant", "tenant_id"}
_IDS = {"p_job": "job", "p_claim": "claim", "p_worker": "worker", "p_prompt": "prompt", "id": "job", "job_id": "job"}
_KEYS = {"idempotency_key"}
_JSON = {"p_run", "p_outcome", "p_steps", "p_jobs", "p_requests", "requests"}

#: An id that is refused though it would be taken if B had no such job. It tells nothing but that, of 74 random bits.
MAY_TELL = {
    ("enqueue", "id"),
    ("enqueue_batch", "p_jobs"),
    ("enqueue_many", "requests"),
    ("quote_requests", "p_requests"),
}


class UnknownArgumentError(AssertionError):
    """A function that the application may execute has an argument that this check gives no value to."""


def _json(function: str, name: str, ids: dict[str, Any]) -> Any:
    """What a JSON argument holds, with these ids in every place where ids stand."""
    text = {key: str(value) for key, value in ids.items()}
    usage = {"id": text["run"], "status": "succeeded", "input_tokens": 5, "output_tokens": 5}
    outcome = {
        "outcome": "succeeded",
        "run_id": text["run"],
        "output": "y",
        "finish": "complete",
        "max_output_tokens": 5,
    }
    whose = {"tenant_id": text["tenant"], "job_id": text["job"], "claim_id": text["claim"]}
    steps = [
        whose | {"do": "settle", "run": usage, "verdict": "ended", "outcome": outcome},
        whose | {"do": "settle", "run": None, "verdict": "hand_back", "outcome": {}},
        whose | {"do": "begin", "run_id": text["run"], "kind": "answer", "provider": "openai", "model": "gpt-6-luna",
                 "tier": "cheap", "route_rule": "r", "fallback": False, "input_bound": 50, "max_output_tokens": 50,
                 "prompt_id": text["prompt"], "key_owner": "platform", "later": [], "processing": "standard"},
    ]  # fmt: skip
    claim = {"do": "claim", "tenant_id": text["tenant"], "lane": "batch", "claim_id": text["claim"],
             "worker_id": text["worker"], "timeout_s": 300, "turns_per_tenant": 64, "repeat": True}  # fmt: skip
    request = {"user_id": "u", "feature": "chat", "messages": [{"role": "user", "content": "x"}], "id": text["job"]}
    planned = {"id": text["job"], "user_id": "u", "feature": "chat", "lane": "batch", "rank": 1, "calls": []}
    known = {
        "p_run": usage,
        "p_outcome": outcome,
        "p_steps": [*steps, claim] if function == "group_commit" else steps,
        "p_jobs": [planned] if function == "quote_many" else [request],
        "p_requests": [request],
        "requests": [request],
    }
    if name not in known:
        raise UnknownArgumentError(f"{function}: the JSON argument {name} has no value here")
    return Jsonb(known[name])


def _value(function: str, name: str, kind: str, ids: dict[str, Any]) -> Any:
    if (name in _JSON and kind == "jsonb") or (kind == "jsonb" and name not in _PLAIN):
        return _json(function, name, ids)
    if name in _TENANT:
        return ids["tenant"]
    if kind == "uuid" and name == "p_run":
        return ids["run"]
    if name in _IDS:
        return ids[_IDS[name]]
    if name in _KEYS:
        return ids["key"]
    if name not in _PLAIN:
        raise UnknownArgumentError(
            f"{function}: the argument {name} {kind} has no value here: say what it is in tenant_walls.py"
        )
    return _PLAIN[name]


def signatures(owner: Connection) -> list[tuple[str, list[tuple[str, str]]]]:
    """What app or producers may execute: the name, and the arguments' names and types."""
    rows = owner.execute(
        """select p.proname, array(select array[p.proargnames[i], format_type(p.proargtypes[i - 1], null)]
                                   from generate_series(1, p.pronargs) i)
           from pg_proc p where p.pronamespace = 'headrace'::regnamespace and (
               has_function_privilege('headrace_app', p.oid, 'execute')
               or has_function_privilege('headrace_producer', p.oid, 'execute'))
             and p.pronargs > 0 and p.proname <> 'time_of'
             and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
           order by p.proname, p.oid"""
    ).fetchall()
    return [(name, [(one[0], one[1]) for one in arguments]) for name, arguments in rows]


def strangers_ids(world: World, *, tenants: bool = True) -> Iterator[str]:
    """Every function that app may execute, called as A with B's ids in each argument, and in all of them.

    It answers as for ids that do not exist,
    and no row of B has changed. What is not swapped is A's own. tenants: B's own
    id is tried as well.
    """
    before = _of(world.db, world.b)
    for function, arguments in signatures(world.db):
        of_ids = [name for name, _ in arguments if name in {*_TENANT, *_IDS, *_KEYS, *_JSON}]
        of_things = set(of_ids) - _TENANT
        swaps = (
            [*({one} for one in of_ids), of_things, set(of_ids)] if tenants else [*({o} for o in of_things), of_things]
        )
        for swapped in swaps:
            mine = {} if tenants else {"tenant": world.a}
            nobodys = {name: new_id() for name in world.as_b} | {"key": uuid4().hex}
            told: list[str] = []
            for stranger in (world.as_b | mine, nobodys | mine):
                values = {
                    name: _value(function, name, kind, stranger if name in swapped else world.as_a)
                    for name, kind in arguments
                }
                with world.db.transaction(force_rollback=True):
                    told.append(_answer(world, function, values))
                    changed = _changed(world, before)
                if changed:
                    yield f"{function}({', '.join(sorted(swapped))}) changed rows of B in {changed}"
            if function == "enqueue" and "tenant_id" in swapped:
                continue  # the way in for services: its tenant is its argument, and the login is what is bound
            if told[0] != told[1] and not (swapped & {one for name, one in MAY_TELL if name == function}):
                yield f"{function}({', '.join(sorted(swapped))}): {told[0]}, but of ids that do not exist {told[1]}"
    yield from _a_claim_of_anothers_name(world, before)


def _answer(world: World, function: str, values: dict[str, Any]) -> str:
    """What the function answers to A, without ids and times."""
    call = sql.SQL("select to_jsonb(f) from headrace.{}({}) f").format(
        sql.Identifier(function),
        sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in values),
    )
    try:
        with world.db.transaction():
            world.db.execute(sql.SQL("set local session authorization {}").format(sql.Identifier(APP)))
            world.db.execute("select set_config('app.tenant_id', %s, true)", [str(world.a)])
            rows = [row[0] for row in world.db.execute(call, values)]
    except psycopg.Error as error:
        rows = [error.sqlstate, error.diag.message_primary, error.diag.message_detail]
    world.db.execute("set local session authorization default")
    for row in rows:
        if isinstance(row, dict):
            row.pop("queued_s", None)
    return _INSTANT.sub("<at>", _UUID.sub("<id>", json.dumps(rows, sort_keys=True)))


def _a_claim_of_anothers_name(world: World, before: dict[str, str]) -> Iterator[str]:
    """A claims a job of its own under the id of B's claim, begins and settles it: B's slots and reservation stay."""
    b = world.as_b
    with world.db.transaction(force_rollback=True):
        world.db.execute(sql.SQL("set local session authorization {}").format(sql.Identifier(APP)))
        row = world.db.execute(
            "select job_id from headrace.claim(%s, 'interactive', %s, %s, 300, 64)", [world.a, b["claim"], b["worker"]]
        ).fetchone()
        if row is None or row[0] is None:
            yield "A has no job left to claim: the check is worth nothing"
            return
        world.db.execute(
            "select headrace.begin(%s, %s, %s, %s, 'answer', 'openai', 'gpt-6-luna', 'cheap', 'r', false, 50, 50)",
            [world.a, row[0], b["claim"], b["run"]],
        )
        failed = {"outcome": "failed", "reason": "x"}
        world.db.execute(
            "select headrace.settle(%s, %s, %s, %s, 'ended', %s)",
            [world.a, row[0], b["claim"], Jsonb({"id": str(b["run"]), "status": "failed"}), Jsonb(failed)],
        )
        world.db.execute("set local session authorization default")
        if changed := _changed(world, before):
            yield f"a claim by the id of B's changed rows of B in {changed}"


def _changed(world: World, before: dict[str, str]) -> str:
    after = _of(world.db, world.b)
    return ", ".join(sorted(table for table in after if after[table] != before.get(table)))


def _of(owner: Connection, tenant: UUID) -> dict[str, str]:
    """A digest of all that a tenant has, by table."""
    wheres: dict[str, LiteralString] = {name: "t.tenant_id = %(b)s" for name, has in relations(owner).items() if has}
    wheres |= {
        "tenants": "t.id = %(b)s",
        "slots": "t.of_tenant = %(b)s or t.promised_tenant = %(b)s or t.cap_key like 'tenant:' || %(b)s || '%%'",
        "slot_shares": "t.of_tenant = %(b)s",
    }
    parts = [
        sql.SQL("select {}, md5(string_agg(t::text, ',' order by t::text)) from headrace.{} t where ").format(
            sql.Literal(name), sql.Identifier(name)
        )
        + sql.SQL(where)
        for name, where in wheres.items()
    ]
    return dict(owner.execute(sql.SQL(" union all ").join(parts), {"b": tenant}).fetchall())


# ---------------------------------------------------------------------------------------------- predicates in the texts

_TABLE = re.compile(
    r"\b(?:from|join|update|using|delete\s+from)\s+headrace\.(?P<table>\w+)(?P<call>\s*\()?(?:\s+(?:as\s+)?(?P<alias>\w+))?",
    re.IGNORECASE,
)
_WORDS = {
    "where",
    "set",
    "for",
    "order",
    "join",
    "left",
    "cross",
    "on",
    "returning",
    "using",
    "group",
    "limit",
    "as",
    "into",
}


#: Looks by the login that called, of all tenants: so many a function.
_BY_LOGIN = {"is_shut_out": 1}


def predicates(texts: dict[str, str], with_tenant: set[str]) -> Iterator[str]:
    """Each statement of a function that a tenant can reach names the tenant of every table that it reads or writes.

    So row security is the second wall and not the only one.
    """
    for name, text in texts.items():
        by_login = _BY_LOGIN.get(name, 0)
        body = re.sub(r"--[^\n]*", "", text)
        for statement in body.split(";"):
            for match in _TABLE.finditer(statement):
                table, alias = match["table"], match["alias"]
                if match["call"] or table not in with_tenant:
                    continue
                if alias is None or alias.lower() in _WORDS:
                    alias = table
                column = "id" if table == "tenants" else "tenant_id"
                named = rf"\b{alias}\.(?:{column}|of_whom)\b\s*(?:=|is not distinct|is null)"
                bare = rf"(?<![.\w]){column}\s*=" if alias == table else r"(?!)"
                scope = _scope(statement[match.end() :])
                if by_login and "login = session_user" in scope and not re.search(named, scope):
                    by_login -= 1
                elif not re.search(f"{named}|{bare}", scope):
                    yield f"{name}: {table} {alias} without its tenant"


def _scope(text: str) -> str:
    """The text up to the end of the parenthesis that it stands in: an alias means another table elsewhere."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return text[:at]
    return text


def reachable(owner: Connection) -> dict[str, str]:
    """The texts of all functions that app or producers may execute, and of those that these call."""
    rows = owner.execute(
        """select p.proname, string_agg(pg_get_functiondef(p.oid), ';'), bool_or(
               has_function_privilege('headrace_app', p.oid, 'execute')
               or has_function_privilege('headrace_producer', p.oid, 'execute'))
           from pg_proc p where p.pronamespace = 'headrace'::regnamespace and p.prokind = 'f'
             and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') group by p.proname"""
    ).fetchall()
    texts = {name: text for name, text, _ in rows}
    found: dict[str, str] = {}
    ahead = [name for name, _, open_ in rows if open_]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = texts[name]
            ahead += [one for one in re.findall(r"headrace\.(\w+)\(", texts[name]) if one in texts]
    return found


Check = Callable[[World], Iterator[str]]
CHECKS: tuple[Check, ...] = (privileges, policies, functions, keys, roles, rows_seen, strangers_ids)
