"""The choice among options for a text: the option whose own words, or related words, occur most."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from simulator.answers.dice import Dice
from simulator.answers.reading import COMMON, Reading, stem

_COMPANIONS: dict[str, str] = {
    "billing": "invoice charge charged refund payment paid card bill price double money subscription fee",
    "payment": "invoice charge charged refund paid card bill iban",
    "refund": "refund money back return charged",
    "technical": "error crash bug broken fail failed failing slow loading screen timeout exception api server",
    "bug": "error crash broken fail failed exception wrong stack screen",
    "account": "login password account sign locked email access two-factor profile username",
    "access": "login password locked permission denied sso",
    "shipping": "delivery parcel package courier tracking shipped arrive arrived late delayed address",
    "delivery": "parcel package courier tracking shipped arrive late delayed",
    "order": "order ordered item wrong size cancel",
    "cancellation": "cancel cancelled terminate unsubscribe leave",
    "security": "security phishing breach leaked vulnerability hacked suspicious",
    "privacy": "gdpr personal data delete erase consent",
    "complaint": "unacceptable disappointed terrible angry worst",
    "sales": "quote pricing plan upgrade demo discount offer",
    "legal": "contract clause liability agreement law",
    "urgent": "urgent immediately asap outage down production emergency critical now losing deadline today",
    "critical": "outage down production emergency critical security breach losing",
    "high": "urgent asap cannot blocked deadline today important charged twice soon angry",
    "low": "whenever wish suggestion minor curious wondering someday typo idea",
    "negative": "angry disappointed terrible broken worst unacceptable frustrated bad failed",
    "positive": "great love thanks excellent happy perfect wonderful good",
    "outage": "down outage unavailable nobody everyone everything 500 503 504 offline since none whole",
    "how_to": "how where setting possible find shortcut guide does can explain",
    "feature_request": "wish suggestion would could add support option idea feature helpful please missing",
    "sql": "sql query table select join column",
    "code": "function python class bug compile javascript code",
}
_STEMS = {stem(key): frozenset(stem(word) for word in words.split()) for key, words in _COMPANIONS.items()}
_MIDDLE = ("normal", "medium", "neutral", "moderate", "standard", "other", "general")
_DIFFICULTY = re.compile(r"complex|difficult|effort|tier|hardness|depth", re.I)
_HARD = (
    "analyse analyze compare design explain why prove derive architecture legal contract liability strategy trade-off"
    " optimise optimize refactor multi-step reason evaluate plan join window recursive"
)
_HARD_WORDS = frozenset(_HARD.split())


def choose(options: Sequence[Any], name: str, read: Reading, asked: str, dice: Dice) -> int:
    """The index of the option that fits.

    :param name: the field that is being decided; one about difficulty is judged by the task instead of by its words,
        with the options taken to run from easy to hard.
    :param asked: the whole question, of which ``read`` is the material.
    """
    if _DIFFICULTY.search(name):
        return min(int(difficulty(asked) * len(options)), len(options) - 1)
    scores = [_score(option, read.stems) for option in options]
    best = max(scores)
    if best > 0:
        return scores.index(best)
    middle = [number for number, option in enumerate(options) if str(option).lower() in _MIDDLE]
    return middle[0] if middle else dice.below(len(options), name)


def difficulty(text: str) -> float:
    """How hard a task looks, from 0 to 1: long, with several questions and demanding words."""
    words = re.findall(r"[a-z-]+", text.lower())
    hard = sum(word in _HARD_WORDS for word in words)
    return min(1.0, len(words) / 600 + 0.12 * hard + 0.06 * max(0, text.count("?") - 1))


def _score(option: Any, present: Counter[str]) -> float:
    name = str(option).lower()
    parts = [part for part in re.split(r"[\W_]+", name) if part and part not in COMMON]
    own = sum(present[stem(part)] for part in parts) * 1.5
    usual = _STEMS.get(stem(name)) or {word for part in parts for word in _STEMS.get(stem(part), ())}
    return own + sum(min(present[word], 3) for word in usual)
