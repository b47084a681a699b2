"""What cleaning takes out, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.cleaning import DEEPEST, _is_mark, clean_json, clean_text

# every code point, lone surrogates included
ANY_TEXT = st.text(st.characters())
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ANY_JSON = st.recursive(
    LEAVES | ANY_TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4)
)


def nested(levels: int) -> Any:
    value: Any = "core"
    for _ in range(levels):
        value = [value]
    return value


@settings(deadline=None)
@given(ANY_TEXT)
def test_clean_text_can_be_stored_sent_and_cleaned_again(text: str) -> None:
    clean = clean_text(text)
    assert clean.encode("utf-8").decode("utf-8") == clean
    assert not [
        one
        for one in clean
        if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\t\n"
    ]  # fmt: skip
    assert unicodedata.is_normalized("NFC", clean)
    assert clean_text(clean) == clean


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "Zs", "S"])))
def test_what_can_be_read_stays_but_for_its_composition(text: str) -> None:
    assert clean_text(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("one\r\ntwo\rthree\u2028four\u2029five\nsix", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("nul\x00 bell\x07 escape\x1b delete\x7f next\x85", "nul bell escape delete next"),
        ("tab\tstays", "tab\tstays"),
        ("\ufeffmark", "mark"),
        ("access\u202e level\u2066 shown\u2069", "access level shown"),
        ("cafe\u0301", "caf\u00e9"),
        ("half \ud800 of a pair", "half ? of a pair"),
        ("joined \U0001f468\u200d\U0001f469", "joined \U0001f468\u200d\U0001f469"),
    ],
)  # fmt: skip
def test_cases(text: str, clean: str) -> None:
    assert clean_text(text) == clean


@settings(deadline=None)
@given(ANY_JSON)
def test_clean_json_is_json_with_every_text_cleaned(value: Any) -> None:
    clean = clean_json(value)
    text = json.dumps(clean, allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    assert "\\u0000" not in text
    assert json.loads(text) == clean
    assert clean_json(clean) == clean


def test_clean_json_cleans_keys_and_makes_lists_of_tuples() -> None:
    assert clean_json({"a\x00": ("b\r\n", {"c\u202e": None})}) == {"a": ["b\n", {"c": None}]}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "float out of range"),
        ([float("-inf")], "float out of range"),
        (10**400, "int out of range"),
        ({"a": b"bytes"}, "bytes"),
        ({"a": {1, 2}}, "set"),
        ([object()], "object"),
        ({1: "a"}, "a key that is not text: int"),
    ],
)
def test_what_is_no_json_is_refused(value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        clean_json(value)


@pytest.mark.parametrize("levels", [DEEPEST + 1, 100_000])
def test_nesting_has_a_bound(levels: int) -> None:
    assert clean_json(nested(DEEPEST)) == nested(DEEPEST)
    with pytest.raises(ValueError, match=f"deeper than {DEEPEST} levels"):
        clean_json(nested(levels))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a" + "\u0316" * 30 + "b", "a" + "\u0316" * 30 + "b"),
        ("a" + "\u0316" * 31 + "b", "a" + "\u0316" * 30 + "b"),
        ("\u0316" * 100, "\u0316" * 30),
        ("\u0316" * 45 + "b" + "\u0316" * 29 + "c", "\u0316" * 30 + "b" + "\u0316" * 29 + "c"),
        ("a" + "\u0301\u0316" * 40, "\u00e1" + "\u0316" * 15 + "\u0301" * 14),
        ("\u0344" * 29, "\u0308\u0301" * 15),
        ("\U0001e8d0" * 40, "\U0001e8d0" * 30),
    ],
)  # fmt: skip
def test_of_marks_in_a_row_the_first_thirty_stay(text: str, clean: str) -> None:
    assert clean_text(text) == clean
    assert clean_text(clean) == clean


@settings(deadline=None)
@given(
    st.text(
        st.sampled_from("ae\u0301\u0316\u0344\u0345\u0f73\u0f71\u1161\u0bbe\u0bc6\U0001d165\U0001d160"), max_size=300
    )
)
def test_texts_of_marks_can_be_cleaned_again(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)


def test_each_character_that_begins_with_a_mark_counts_as_one() -> None:
    for one in map(chr, (*range(0xD800), *range(0xE000, 0x110000))):
        begins = unicodedata.combining(unicodedata.normalize("NFD", one)[0]) > 0
        assert begins is _is_mark(one), hex(ord(one))
