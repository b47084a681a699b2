"""Keys stay out of all texts for people: messages, reprs, logs and tracebacks."""

from __future__ import annotations

import re

from errors import ProviderAuthError

_HIDDEN = "[key]"
_VISIBLE_ASCII = re.compile(r"[!-~]+")
# A text in the form of a key may be a foreign key: of the account behind a gateway, or of another tenant.
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:(?:sk|pk|rk|gsk|xai)[-_][\w-]{16,}|AIza[\w-]{16,})|(?<=Bearer )[!-~]{16,}")


def check_key(provider: str, key: str) -> None:
    """Refuse a key that cannot be sent in a header, before a library quotes it in its error.

    An empty key is refused too: an SDK would quietly take another key instead.

    :raises ProviderAuthError: the key is empty, or has white space or characters beyond ASCII in it.
    """
    if not _VISIBLE_ASCII.fullmatch(key):
        raise ProviderAuthError(
            "the key is empty or holds white space or characters beyond ASCII; was a line break copied with it?",
            provider=provider,
        )


def hide(text: str, key: str) -> str:
    """The text without the key, and without anything that looks like a key: some servers quote it in their refusal."""
    return _LOOKS_LIKE_A_KEY.sub(_HIDDEN, text.replace(key, _HIDDEN))


def scrub(error: BaseException, key: str) -> None:
    """Make a foreign exception safe as a cause: its text without the key, its attributes and frames removed.

    An SDK's exception holds the request with its headers, and so do the variables of the frames that it went through,
    which some log formats print.
    """
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        pending += [current.__cause__, current.__context__]
        current.args = tuple(hide(arg, key) if isinstance(arg, str) else arg for arg in current.args)
        current.__traceback__ = None
        vars(current).clear()
