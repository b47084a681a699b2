"""An id is one id wherever it comes in: composed alike, refused alike; and unknown names are told what there is."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import headrace_client
import psycopg
import pytest
from headrace_client.errors import HeadraceError as LightError

import storage
from errors import HeadraceError, InvalidInputError, UnknownFeatureError, UnknownTenantError
from producers import Client
from storage.catalogue import policy, tenants
from storage.db import names
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit, pauses
from storage.fleet.pauses import PausableKind
from storage.money import limits, prices
from storage.money.limits import Scope, SlotScope
from tests.conftest import new_tenant
from tests.support import odd_texts
from tests.support.fleet import Urls
from tests.support.requests import enqueue_by_sql
from tests.support.transactions import claim_job, enqueue_job

DECOMPOSED, COMPOSED = "Jose\u0301", "Jos\u00e9"
CHAT: dict[str, Any] = {"user_id": "u-1", "feature": "chat", "messages": [{"role": "user", "content": "Hello"}]}
PROMPT: dict[str, Any] = {"user_id": "u-1", "feature": "chat", "prompt": "chat", "variables": {"message": "Hello"}}
ODD = "holds a control character, a line separator, a direction override or half of a surrogate pair"
UNSEEN = "holds nothing that can be seen"
MARKED = "holds more than 30 combining marks in a row"


# ------------------------------------------------------------------------------------------------------- one rule


def test_python_and_sql_say_the_same_of_every_text(urls: Urls) -> None:
    texts = odd_texts.texts()
    assert len(texts) > 3000
    with psycopg.connect(urls.owner) as connection:
        rows = connection.execute(
            "select headrace.composed(t), headrace.name_fault(headrace.composed(t), 200),"
            "       headrace.composed(p) from unnest(%s::text[], %s::text[]) with ordinality x(t, p, n) order by n",
            [list(texts), [names.compose(one) for one in texts]],
        ).fetchall()
    apart = 0
    for text, (sql, fault, after_python) in zip(texts, rows, strict=True):
        python = names.compose(text)
        assert after_python == sql, ascii(text)[:80]  # what Python does first never leads to another id
        if python == sql:
            assert names.name_fault(python) == fault, ascii(text)[:80]
        else:  # Postgres knows a newer Unicode
            apart += 1
            assert any(unicodedata.category(one) == "Cn" for one in text), ascii(text)[:80]
            assert (names.name_fault(python), fault) == (None, None)
    assert apart <= len(odd_texts.NEWER)
    said = {fault for _, fault, _ in rows}
    assert said == {None, ODD, UNSEEN, MARKED, "needs 1 to 200 characters"}


def test_every_combining_mark_is_known() -> None:
    marks = re.compile(f"[{names.MARKS}]")
    every = {one for one in map(chr, range(0x110000)) if marks.match(one)}
    assert every >= {one for one in map(chr, range(0x110000)) if unicodedata.combining(one)}
    text = (Path(storage.__file__).parent / "db" / "functions" / "too_many_marks.sql").read_text()
    in_sql = re.search(r"p_text ~ \('\['(.*?)\|\| '\]\{31\}'\)", text, re.DOTALL)
    assert in_sql is not None
    assert "".join(re.findall(r"\|\| '([^']*)'", in_sql[1])) == _as_sql_has_it(every)


def _as_sql_has_it(characters: set[str]) -> str:
    runs: list[list[int]] = []
    for point in sorted(map(ord, characters)):
        if runs and runs[-1][1] == point - 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return "".join(("-" if last > first + 1 else "").join(map(_escaped, sorted({first, last}))) for first, last in runs)


def _escaped(point: int) -> str:
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def test_a_row_of_marks_is_refused_before_it_is_sorted(urls: Urls, tenant: UUID) -> None:
    for marks in ("\u0345" * 16 + "\u0334" * 15, "\u0301" * 31, "\U0001e8d0\u093c" * 16):
        assert names.compose("e" + marks) == "e" + marks
        assert names.name_fault("e" + marks) == MARKED
        refused = pytest.raises(InvalidInputError, match="combining marks in a row")
        with psycopg.connect(urls.producer, autocommit=True) as producer, refused:
            enqueue_by_sql(producer, tenant_id=tenant, **{**CHAT, "user_id": "e" + marks})
    assert names.name_fault(names.compose("e" + "\u0301" * 30)) is None


@pytest.mark.parametrize("text", odd_texts.UNSTORABLE)
def test_what_postgres_cannot_hold_is_refused_by_the_same_words(text: str) -> None:
    assert names.name_fault(names.compose(text)) == ODD


def test_a_long_text_is_refused_before_it_is_composed() -> None:
    """Composing sorts each row of marks, in a time that grows with its square."""
    with pytest.raises(InvalidInputError, match="needs 1 to 200 characters") as refused:
        names.clean_name("a" + "\u0316\u0301" * 5_000_000, field="user_id")
    assert len(str(refused.value)) < 400


# ------------------------------------------------------------------------------------------------------- every door


def test_one_user_is_one_user_by_every_door(
    client: Client, app: Database, ops: Database, urls: Urls, tenant: UUID
) -> None:
    with ops.connection() as connection:
        limits.set_cap(connection, tenant, Scope.USER, DECOMPOSED, Decimal(1), actor="o")
        limits.set_rate(connection, tenant, Scope.USER, DECOMPOSED, 7, actor="o")
    asked = {**CHAT, "idempotency_key": DECOMPOSED}
    with psycopg.connect(urls.producer, autocommit=True) as producer, headrace_client.Client(urls.producer) as light:
        ids = [
            client.enqueue(tenant_id=tenant, **{**asked, "user_id": COMPOSED}),
            client.enqueue(tenant_id=tenant, **{**asked, "user_id": DECOMPOSED}),
            enqueue_by_sql(producer, tenant_id=tenant, **{**asked, "user_id": DECOMPOSED}),
            enqueue_by_sql(producer, tenant_id=tenant, **{**asked, "user_id": COMPOSED, "idempotency_key": COMPOSED}),
        ]
        assert len(set(ids)) == 1, "one key, one body, one job"
        enqueue_by_sql(producer, tenant_id=tenant, **{**CHAT, "user_id": DECOMPOSED})
        keyed = {"tenant_id": tenant, **CHAT, "user_id": DECOMPOSED}
        by_light = [light.enqueue(**keyed, idempotency_key=f"2-{key}") for key in (DECOMPOSED, COMPOSED)]
        assert len(set(by_light)) == 1
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id=DECOMPOSED)
    with ops.connection() as connection:
        rows = connection.execute("select distinct j.user_id, q.user_id as queued from headrace.jobs j"
                                  " join headrace.queue q on q.id = j.id").fetchall()  # fmt: skip
        assert rows == [{"user_id": COMPOSED, "queued": COMPOSED}]
        for given in (DECOMPOSED, COMPOSED):
            (cap,) = [one for one in limits.caps(connection, tenant, user=given) if one.scope is Scope.USER]
            assert (cap.key, cap.limit_usd) == (COMPOSED, Decimal(1))
            (rate,) = [one for one in limits.rates(connection, tenant, user=given) if one.scope is Scope.USER]
            assert (rate.key, rate.per_minute) == (COMPOSED, 7)
        limits.set_rate(connection, tenant, Scope.USER, DECOMPOSED, None, actor="o")
        assert [one.source for one in limits.rates(connection, tenant, user=COMPOSED) if one.scope is Scope.USER] != [
            limits.Source.USER
        ]
        targets = connection.execute("select distinct target from headrace.audit").fetchall()
        assert targets == [{"target": f"user:{COMPOSED}"}]
        limits.set_rate(connection, tenant, Scope.USER, DECOMPOSED, 7, actor="o")
    with app.connection() as connection:  # the cap and the rate bind what came by any door
        claimed = claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id())
        assert claimed is not None and [rate.per_minute for rate in claimed.rates] == [7]


def test_a_tenant_is_found_by_its_name_in_either_form(ops: Database) -> None:
    with ops.connection() as connection:
        tenant = tenants.add(connection, name=DECOMPOSED, external_id=DECOMPOSED + "-1")
        for given in (DECOMPOSED, COMPOSED, DECOMPOSED + "-1", COMPOSED + "-1"):
            found = tenants.resolve(connection, given)
            assert (found.id, found.name, found.external_id) == (tenant, COMPOSED, COMPOSED + "-1")
            assert tenants.find(connection, given) == found


BAD = {
    "": "needs 1 to {most} characters",
    "a\u202eb": ODD,
    "a\nb": ODD,
    "\ufeffa": ODD,
    " \u200b\u3000": UNSEEN,
    "x" * 801: "needs 1 to {most} characters",
}


def test_an_id_that_cannot_be_one_is_refused_by_every_door_alike(
    client: Client, ops: Database, urls: Urls, tenant: UUID, subtests: pytest.Subtests
) -> None:
    """The same code and the same words by every way in; nothing is left of it."""
    most = {"user_id": 200, "feature": 61, "prompt": 61, "lane": 31, "idempotency_key": 200}
    with psycopg.connect(urls.producer, autocommit=True) as producer, headrace_client.Client(urls.producer) as light:
        doors: dict[str, Callable[..., Any]] = {
            "python": client.enqueue,
            "light client": light.enqueue,
            "sql": lambda **fields: enqueue_by_sql(producer, **fields),
        }
        for name, door in doors.items():
            for field, length in most.items():
                for given, words in (BAD | ({"a\x00b": ODD, "\ud800": ODD} if name != "sql" else {})).items():
                    with subtests.test(door=name, field=field, given=ascii(given)[:20]):
                        asked = {**(PROMPT if field == "prompt" else CHAT), field: given}
                        with pytest.raises((HeadraceError, LightError)) as refused:
                            door(tenant_id=tenant, **asked)
                        told = refused.value
                        assert (told.code, told.field) == ("invalid_input", field)
                        assert told.message == words.format(most=length)
    with ops.connection() as connection:
        ways: dict[str, Callable[[str], object]] = {
            "cap": lambda given: limits.set_cap(connection, tenant, Scope.USER, given or " ", Decimal(1), actor="o"),
            "rate": lambda given: limits.set_rate(connection, tenant, Scope.USER, given or " ", 1, actor="o"),
            "show": lambda given: limits.caps(connection, tenant, user=given),
            "rates": lambda given: limits.rates(connection, tenant, feature=given),
            "concurrency": lambda given: limits.set_concurrency(
                connection, tenant, SlotScope.LANE, given, 1, actor="o"
            ),
            "tenant": lambda given: tenants.resolve(connection, given),
            "name": lambda given: tenants.add(connection, name=given),
            "external id": lambda given: tenants.add(connection, name="Bee", external_id=given),
            "pause": lambda given: pauses.resolve(connection, PausableKind.FEATURE, given),
            "pause lane": lambda given: pauses.resolve(connection, PausableKind.LANE, given),
            "list": lambda given: policy.known_feature(connection, given, retired=True),
        }
        for name, way in ways.items():
            for given in [*BAD, *odd_texts.UNSTORABLE]:
                with subtests.test(way=name, given=ascii(given)[:20]):
                    with pytest.raises(HeadraceError) as refused:
                        way(given)
                    assert refused.value.code == "invalid_input"
                    words = {word.format(most=most) for word in BAD.values() for most in (31, 61, 200)}
                    assert refused.value.message in words
        limits.set_rate(connection, tenant, Scope.USER, "a\nb", None, actor="o")  # what is there from before can go
        assert connection.execute("select count(*) as n from headrace.jobs").fetchone() == {"n": 0}
        assert connection.execute("select count(*) as n from headrace.audit").fetchone() == {"n": 1}
        assert [one.name for one in tenants.list_tenants(connection)] == ["Acme"]


# ----------------------------------------------------------------------------------------------- what was there before


CAP = """
    insert into headrace.caps (tenant_id, scope, key, limit_usd, hour) values (%s, 'user', %s, %s, headrace.now())
"""


def test_a_limit_that_was_set_for_another_form_of_an_id_is_found(ops: Database, urls: Urls, tenant: UUID) -> None:
    other = new_tenant(ops, "Bee")
    with psycopg.connect(urls.owner, autocommit=True) as owner:  # (no way in of ours leaves such a row)
        for cap in [(tenant, DECOMPOSED, 1), (tenant, COMPOSED, 2), (other, DECOMPOSED, None)]:
            owner.execute(CAP, cap)
        for rate in ((tenant, COMPOSED, 1), (other, DECOMPOSED, 3)):
            owner.execute("insert into headrace.rates values (%s, 'user', %s, %s)", rate)

    with ops.connection() as connection:
        found = [one for one in audit.findings(connection) if one.check == "limit_is_of_a_composed_id"]

    assert {(one.tenant_id, one.facts["kind"], one.facts["key"]) for one in found} == {
        (tenant, "cap", DECOMPOSED), (other, "rate", DECOMPOSED),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------- what may have been meant


def test_an_unknown_name_is_told_what_is_near_and_what_there_is() -> None:
    some = ["chat", "report", "sql_generation"]
    assert names.did_you_mean("caht", some) == "Did you mean chat? There are: chat, report, sql_generation."
    assert names.did_you_mean("CHAT", some).startswith("Did you mean chat?")
    assert names.did_you_mean("zzz", some) == "There are: chat, report, sql_generation."
    assert names.did_you_mean("chat", []) == "There are none yet."
    assert names.did_you_mean("x", ["chat"], more="See there.") == "There is: chat. See there."
    many = [f"name-{n}" for n in range(500)]
    told = names.did_you_mean("name-499x", many)
    assert told.startswith("Did you mean name-499")
    assert 10 <= told.count("name-") <= 13
    assert len(names.did_you_mean("x" * 10**6, ["y" * 200] * 10**4)) < 2500


PUBLISH = """
    insert into headrace.prompts (id, tenant_id, name, version, body, max_output_tokens, content_hash)
    values (uuidv7(), %(tenant)s, %(name)s, 1, 'x', 100, 'x')
"""
POINT = """
    insert into headrace.prompt_pointers (tenant_id, name, prompt_id)
    select tenant_id, name, id from headrace.prompts where name = %(name)s
"""
BY_SQL = """
    select headrace.enqueue(tenant_id => %(tenant_id)s, user_id => 'u', feature => %(feature)s, lane => %(lane)s,
                            prompt => %(prompt)s, messages => %(messages)s)
"""


def test_every_door_says_what_there_is_and_nothing_of_other_tenants(
    client: Client, ops: Database, urls: Urls, tenant: UUID, subtests: pytest.Subtests
) -> None:
    other = new_tenant(ops, "Other")
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        for whose, name in ((tenant, "chatter"), (other, "secret_chat")):
            for statement in (PUBLISH, POINT):
                owner.execute(statement, {"tenant": whose, "name": name})
    unknown = [
        ({**CHAT, "feature": "chta"}, "unknown_feature", "Did you mean chat?", ["chat", "report"]),
        ({**CHAT, "lane": "btach"}, "unknown_lane", "Did you mean batch?", ["batch", "interactive"]),
        ({**PROMPT, "prompt": "chaterr"}, "unknown_prompt", "Did you mean chatter", ["chat", "chatter"]),
    ]
    with psycopg.connect(urls.producer, autocommit=True) as producer, headrace_client.Client(urls.producer) as light:
        for fields, code, meant, there_are in unknown:
            doors: list[tuple[str, Callable[..., Any]]] = [("python", client.enqueue), ("light", light.enqueue)]
            for name, door in doors:
                with subtests.test(door=name, code=code):
                    with pytest.raises((HeadraceError, LightError)) as refused:
                        door(tenant_id=tenant, **fields)
                    told = refused.value
                    assert (told.code, str(told.hint)[: len(meant)]) == (code, meant)
                    assert all(one in str(told.hint) for one in there_are)
                    assert "secret_chat" not in json.dumps(told.as_dict())
            with subtests.test(door="sql", code=code):
                messages = None if "prompt" in fields else json.dumps(fields["messages"])
                given = {"lane": "batch", "prompt": None, **fields, "tenant_id": tenant, "messages": messages}
                with pytest.raises(psycopg.Error) as error:
                    producer.execute(BY_SQL, given)
                hint = str(error.value.diag.message_hint)
                assert hint.startswith("There are: ")
                assert all(one in hint for one in there_are)
                assert "secret_chat" not in f"{hint}{error.value.diag.message_detail}"
        bulk = client.enqueue_many([{"tenant_id": tenant, **CHAT, "feature": f"invented_{n}"} for n in range(300)])
        assert [one.error.code for one in bulk.refused] == ["unknown_feature"] * 300
        assert sum("known" in one.error.details for one in bulk.refused) == 10, "a bulk is told ten times at most"


def test_every_command_says_what_there_is(ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:

        def of_model() -> None:
            limits.set_concurrency(connection, None, SlotScope.MODEL, "opnai:gpt-6-luna", 1, actor="o")

        def of_plan() -> None:
            limits.set_plan(connection, "prro", {"user_per_minute": 1}, actor="o")

        told: list[tuple[Callable[[], object], type[HeadraceError], str]] = [
            (lambda: tenants.resolve(connection, "Acmee"), UnknownTenantError, "Did you mean Acme? There is: Acme."),
            (lambda: policy.known_feature(connection, "reprot"), UnknownFeatureError, "Did you mean report?"),
            (lambda: policy.known_lane(connection, "Batch2"), HeadraceError, "Did you mean batch?"),
            (
                lambda: pauses.resolve(connection, PausableKind.LANE, "intractive"),
                HeadraceError,
                "Did you mean interactive?",
            ),
            (lambda: tenants.add(connection, name="Bee", plan="fre"), HeadraceError, "Did you mean free?"),
            (lambda: prices.check_model(connection, "gpt-6-lunar"), HeadraceError, "Did you mean gpt-6-luna"),
            (of_model, InvalidInputError, "Did you mean openai:gpt-6-luna"),
            (of_plan, InvalidInputError, "Did you mean pro?"),
        ]
        for ask, kind, meant in told:
            with pytest.raises(kind) as refused:
                ask()
            assert str(refused.value.hint).startswith(meant), refused.value.hint
