from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import combinations

import pytest

from console.demo.dataset import Clause, Question, Ticket, load_clauses, load_questions, load_tickets, parse_lines
from console.demo.dataset import with_schemas as fill_in
from errors import InvalidInputError
from prompts.front_matter import PromptFile, load_prompts
from prompts.render import render

PROMPTS = {prompt.name: prompt for prompt in load_prompts(None)}
TICKETS, CLAUSES, QUESTIONS = load_tickets(), load_clauses(), load_questions()
TEXTS = {
    "tickets": [item.ticket for item in TICKETS],
    "clauses": [item.clause for item in CLAUSES],
    "questions": [item.question for item in QUESTIONS],
}


def test_the_counts_are_those_of_the_readme() -> None:
    assert (len(TICKETS), len(CLAUSES), len(QUESTIONS)) == (140, 60, 60)
    assert [len({item.user for item in items}) for items in (TICKETS, CLAUSES, QUESTIONS)] == [26, 10, 8]
    assert len({question.schema for question in QUESTIONS}) == 3


def test_a_user_is_one_customer() -> None:
    assert len({(ticket.user, ticket.customer) for ticket in TICKETS}) == 26


@pytest.mark.parametrize("texts", TEXTS.values(), ids=TEXTS)
def test_the_texts_are_distinct_and_share_few_words(texts: Sequence[str]) -> None:
    words = [frozenset(re.findall(r"\w+", text.lower())) for text in texts]
    overlaps = [len(one & other) / len(one | other) for one, other in combinations(words, 2)]

    assert len(set(texts)) == len(texts)
    assert sum(overlaps) / len(overlaps) < 0.1
    assert max(overlaps) < 0.35, "two texts look like one template"


def test_the_tickets_are_as_varied_as_the_readme_says() -> None:
    texts = TEXTS["tickets"]
    assert min(map(len, texts)) < 50
    assert sum(len(text) > 1_500 for text in texts) >= 3
    assert sum("```" in text for text in texts) >= 5
    assert sum("{{" in text for text in texts) >= 3
    assert [ticket.user for ticket in TICKETS if "previous instructions" in ticket.ticket] == ["u-1325"]


@pytest.mark.parametrize("words", [(" und ", " ist ", " ich "), ("Bonjour", " nous ", " une "), (" los ", " el ", "¿")])
def test_german_french_and_spanish_are_among_the_tickets(words: tuple[str, ...]) -> None:
    assert sum(any(word in text for word in words) for text in TEXTS["tickets"]) >= 8


@pytest.mark.parametrize(
    ("prompt", "item"),
    [(PROMPTS["support_reply"], item) for item in TICKETS]
    + [(PROMPTS["legal_summary"], item) for item in CLAUSES]
    + [(PROMPTS["sql_generation"], item) for item in QUESTIONS],
)
def test_every_item_renders_with_its_prompt(prompt: PromptFile, item: Ticket | Clause | Question) -> None:
    system, user = render(prompt.body, item.variables)

    assert (system.role, user.role) == ("system", "user")
    for name, value in item.variables.items():
        assert value in user.content
        assert len(value) <= prompt.variables[name].max_chars


def test_addresses_and_numbers_are_fictional() -> None:
    everything = "\n".join(text for texts in TEXTS.values() for text in texts)
    addresses = re.findall(r"[\w.-]+@([\w-]+(?:\.[\w-]+)+)", everything)
    hosts = re.findall(r"https?://([\w.-]+)", everything)
    phones = re.findall(r"\b0\d{2,4} ?\d{3,4} ?\d{3,4}\b", everything)

    assert addresses
    assert phones
    assert [host for host in addresses + hosts if not re.search(r"(^|\.)example\.(com|org)$", host)] == []
    assert [phone for phone in phones if not phone.startswith(("01632 960", "07700 900", "020 7946 0"))] == []


def test_no_data_file_is_large() -> None:
    sizes = {entry.name: len(entry.read_bytes()) for entry in (files("console.demo") / "data").iterdir()}
    assert len(sizes) == 5
    assert max(sizes.values()) < 150_000


GOOD = '{"user": "u-1", "jurisdiction": "Ireland", "clause": "1. Rent."}'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"user": "u-1", "clause": "1. Rent."}', "jurisdiction: is missing"),
        (GOOD.replace('"Ireland"', "7"), "jurisdiction: must be text"),
        (GOOD.replace("Ireland", " "), r"jurisdiction: must have the form \\S"),
        (GOOD.replace("}", ', "court": "x"}'), "court: is not a known field"),
        ("", "is not valid JSON"),
        ("[]", "must be"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_bad_line_is_named_by_its_number(line: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem) as caught:
        parse_lines(f"{GOOD}\n{GOOD}\n{line}\n{GOOD}\n", Clause, "clauses.jsonl")
    assert caught.value.field == "clauses.jsonl:3"


def test_a_line_may_hold_what_python_takes_for_a_line_end() -> None:
    text = GOOD.replace("Rent.", "Rent.\u2028Fee.\u0085End.") + "\n"
    assert [item.clause for item in parse_lines(text, Clause, "x")] == ["1. Rent.\u2028Fee.\u0085End."]


def test_an_unknown_schema_is_named_by_its_line() -> None:
    questions = [Question("u-1", "How many?", "shop"), Question("u-1", "Why?", "attic")]
    with pytest.raises(InvalidInputError, match="unknown schema") as caught:
        fill_in(questions, {"shop": "CREATE TABLE …"}, "questions.jsonl")
    assert (caught.value.field, caught.value.value) == ("questions.jsonl:2", "attic")
