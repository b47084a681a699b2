"""The facts in a text: its sentences, words, names, amounts, dates and spans of time, in order of appearance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property, lru_cache

from simulator.answers.languages import function_words, gist

_TAGGED = re.compile(r"<([A-Za-z][\w-]*)(?:\s[^<>]*)?>\s*(.*)</\1>", re.DOTALL)
_FENCED = re.compile(r"^(```+|~~~+|\"\"\"|---+)[^\n]*\n(.*?)\n\1\s*$", re.DOTALL | re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[^\W_a-z])|\n\s*\n|\n(?=\s*(?:[-*•]|\d+[.)])\s)")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_MONEY = re.compile(
    r"(?:[$€£]\s?\d[\d,.]*\d|[$€£]\s?\d|\b(?:USD|EUR|GBP|CHF)\s?\d[\d,.]*\d|\b\d[\d,.]*\d?\s?(?:USD|EUR|GBP|CHF|dollars|euros)\b)"
    r"(?:\s?(?:million|thousand|k)\b)?",
    re.IGNORECASE,
)
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(
    rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}\s(?:{_MONTHS})(?:\s\d{{4}})?\b|\b(?:{_MONTHS})\s\d{{1,2}}(?:,?\s\d{{4}})?\b"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
)
_SPAN = re.compile(
    r"\b(?:\d+|one|two|three|four|five|six|seven|ten|twelve|thirty|sixty|ninety)\s?(?:\(\d+\)\s?)?"
    r"(?:business\s|working\s|calendar\s)?(?:minutes?|hours?|days?|weeks?|months?|years?)\b",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"\b[^\W\d_a-z][^\W\d_]+(?:\s(?:[^\W\d_a-z][^\W_]+|&|GmbH|Ltd|Inc|LLC|AG|SA|BV|plc)\.?)*", re.UNICODE
)
_REFERENCE = re.compile(r"(?<!\w)(?:#\d{2,}|[A-Z]{2,}-?\d{2,}[\w-]*)\b")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

_COMMON = (
    "a about after again all also am an and any are as at be because been before being but by can cannot could did do"
    " does doing down each few for from further had has have having he hello her here hers hi him his how i if in into"
    " is it its just me more most my no nor not now of off on once only or other our ours out over own please same she"
    " should so some such than thank thanks that the their theirs them then there these they this those through to too"
    " under until up us very was we were what when where which while who whom why will with would yes you your yours"
    " i'm i've it's don't can't didn't we've shall may must upon hereby herein thereof"
)
COMMON = frozenset(_COMMON.split())


class Reading:
    """One text, taken apart on demand."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()

    @cached_property
    def sentences(self) -> list[str]:
        """The sentences (or list items), each on one line."""
        parts = (" ".join(part.split()).strip(" -*•") for part in _SENTENCE_END.split(self.text))
        return [part for part in parts if len(part) > 2]

    @cached_property
    def words(self) -> list[str]:
        """Every word, in lower case."""
        return [word.lower() for word in _WORD.findall(self.text)]

    @cached_property
    def stems(self) -> Counter[str]:
        """How often each word occurs, in rough English, plurals counted with their singular."""
        return Counter(stem(word) for word in _WORD.findall(gist(self.text)))

    @cached_property
    def weights(self) -> Counter[str]:
        """How often each word that carries meaning occurs."""
        empty = COMMON | function_words(self.text)
        return Counter(word for word in self.words if len(word) > 2 and word not in empty and not word.isdigit())

    @cached_property
    def keywords(self) -> list[str]:
        """The words that carry meaning, most frequent first."""
        return [word for word, _ in self.weights.most_common()]

    @cached_property
    def key_sentences(self) -> list[str]:
        """The sentences, the most informative first: dense in keywords and facts, early rather than late."""
        scored = []
        for position, sentence in enumerate(self.sentences):
            words = [word.lower() for word in _WORD.findall(sentence)]
            weight = sum(self.weights[word] for word in set(words))
            facts = sum(fact in sentence for fact in (*self.amounts, *self.references, *self.dates))
            scored.append((weight / (6 + len(words)) + 0.2 * facts - 0.03 * position, -position, sentence))
        return [sentence for _, _, sentence in sorted(scored, reverse=True)]

    @cached_property
    def amounts(self) -> list[str]:
        """Sums of money as written."""
        return _once(match.group().rstrip(".,") for match in _MONEY.finditer(self.text))

    @cached_property
    def dates(self) -> list[str]:
        """Dates as written."""
        return _once(_DATE.findall(self.text))

    @cached_property
    def spans(self) -> list[str]:
        """Spans of time as written, such as notice periods."""
        return _once(match.group() for match in _SPAN.finditer(self.text))

    @cached_property
    def references(self) -> list[str]:
        """Order numbers, ticket numbers and the like."""
        return _once(_REFERENCE.findall(self.text))

    @cached_property
    def mail_addresses(self) -> list[str]:
        """E-mail addresses."""
        return _once(_MAIL.findall(self.text))

    @cached_property
    def names(self) -> list[str]:
        """Capitalised names; a common word that only begins a sentence is not a name."""
        found = []
        for match in _NAME.finditer(self.text):
            parts = match.group().split()
            while parts and parts[0].lower() in COMMON:
                parts.pop(0)
            starts = match.start() == 0 or self.text[: match.start()].rstrip()[-1:] in (".", "!", "?", ":", "")
            if parts and (len(parts) > 1 or not starts) and len(parts[0]) > 1:
                found.append(" ".join(parts))
        return _once(found)

    def about(self, words: Iterable[str]) -> list[str]:
        """The sentences that share words with ``words``, the closest first."""
        wanted = {stem(word) for word in words if word not in COMMON}
        scored = []
        for position, sentence in enumerate(self.sentences):
            shared = wanted & {stem(word.lower()) for word in _WORD.findall(sentence)}
            if shared:
                scored.append((len(shared), -position, sentence))
        return [sentence for _, _, sentence in sorted(scored, reverse=True)]


def material(text: str) -> str:
    """The part of a prompt that its question is about: the longest tagged block, the longest fenced one, or all."""
    for blocks in (_TAGGED, _FENCED):
        longest = max((match.group(2).strip() for match in blocks.finditer(text)), key=len, default="")
        if longest:
            return longest
    return text


def tagged(text: str, name: str) -> str | None:
    """The text between ``<name>`` and the last ``</name>``."""
    found = re.search(rf"<{name}(?:\s[^<>]*)?>(.*)</{name}>", text, re.DOTALL | re.IGNORECASE)
    return found.group(1).strip() if found else None


def without_tags(text: str) -> str:
    """``text`` with a paragraph's end where a tag or a fence stood."""
    return re.sub(r"</?[A-Za-z][\w-]*>|^```\w*$", "\n\n", text, flags=re.MULTILINE)


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """A word without its plural ending."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def shorten(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters, cut between words where there is a gap."""
    if len(text) <= limit:
        return text
    head = text[: max(limit - 1, 0)]
    gap = head.rfind(" ")
    return (head[:gap] if gap > limit // 2 else head).rstrip(" ,;:") + ("…" if limit > 0 else "")


def _once(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(item.strip() for item in found))
