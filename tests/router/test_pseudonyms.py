"""A user's pseudonym: stable, its tenant's own, and not to be found by trying."""

from __future__ import annotations

import hashlib

from router.pseudonyms import Pseudonyms

TENANT, ANOTHER = "0198c000-0000-7000-8000-00000000000a", "0198c000-0000-7000-8000-00000000000b"


def test_it_is_stable_and_differs_by_user_tenant_and_deployment() -> None:
    here, elsewhere = Pseudonyms(b"k" * 32), Pseudonyms(b"x" * 32)
    ada = here.of_user(TENANT, "ada@example.com")
    assert ada == Pseudonyms(b"k" * 32).of_user(TENANT, "ada@example.com")
    others = {
        here.of_user(TENANT, "bob"),
        here.of_user(ANOTHER, "ada@example.com"),
        elsewhere.of_user(TENANT, "ada@example.com"),
    }
    assert len(others | {ada}) == 4


def test_it_is_no_plain_hash_of_the_id() -> None:
    ada = Pseudonyms(b"k" * 32).of_user(TENANT, "ada")
    assert (len(ada), ada.isalnum()) == (64, True)
    assert ada not in {hashlib.sha256(text.encode()).hexdigest() for text in ("ada", f"{TENANT}:ada")}


def test_an_id_of_any_characters_has_one() -> None:
    assert len(Pseudonyms(b"k" * 32).of_user(TENANT, "\ud800 \x00 é\n ")) == 64
