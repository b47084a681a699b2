"""Prose answers from the words that were read: a legal summary, a reply to a customer, an answer in a chat."""

from __future__ import annotations

import re

from console.simulator.dice import Dice
from console.simulator.reading import Reading, shorten

_DUTY = re.compile(
    r"\b(?:shall|must|agrees? to|undertakes?|is required to|may not|will not|warrants?|indemnif\w+)\b", re.I
)
_LIMIT = re.compile(
    r"\b(?:not exceed|limited to|no more than|except|unless|provided that|liab\w+|terminat\w+|penalt\w+)\b", re.I
)
_ORDER = re.compile(
    r"(?:please\s+)?(?:tell|explain|describe|write|list|give|compare|summari[sz]e|translate|name)\b", re.I
)
_PARTY = re.compile(
    r"\b(?:the\s+)?(Supplier|Customer|Client|Provider|Contractor|Licensor|Licensee|Tenant|Landlord|Buyer|Seller"
    r"|Employer|Employee|Recipient|Discloser|Disclosing Party|Receiving Party|Processor|Controller|Company"
    r"|Vendor|Lessee|Lessor)\b"
)


def legal_summary(read: Reading, dice: Dice) -> str:
    """What a clause makes whom do, in a few sentences."""
    parties = list(dict.fromkeys(_PARTY.findall(read.text)))[:3] or read.names[:2]
    duties = [sentence for sentence in read.sentences if _DUTY.search(sentence)]
    rest = [sentence for sentence in read.sentences if sentence not in duties[:2] and len(sentence.split()) > 6]
    limits = [sentence for sentence in rest if _LIMIT.search(sentence)]
    subject = ", ".join(read.keywords[:3]) or "the matter at hand"
    between = f" between {_listed(parties)}" if len(parties) > 1 else f" for {parties[0]}" if parties else ""
    opening = dice.pick(("This clause governs", "The clause deals with", "In substance, the clause settles"), "opening")
    lines = [f"{opening} {subject}{between}."]
    lines += [_ended(shorten(duty, 320)) for duty in (duties or read.key_sentences)[:2]]
    if limits:
        lead = dice.pick(("Limits:", "It is qualified:", "Note the restriction:"), "limits")
        lines.append(f"{lead} {_ended(shorten(limits[0], 260))}")
    facts = []
    if read.amounts:
        facts.append(f"sums of {_listed(read.amounts[:3])}")
    if read.spans:
        facts.append(f"periods of {_listed(read.spans[:3])}")
    if read.dates:
        facts.append(f"the date {_listed(read.dates[:2])}")
    if facts:
        lines.append(f"It names {_listed(facts)}.")
    return " ".join(lines)


def reply_draft(read: Reading, dice: Dice) -> str:
    """A reply to whoever wrote the text."""
    name = _sender(read)
    subject = _subject(read)
    opening = dice.pick(
        ("Thank you for writing to us", "Thank you for your message", "Thanks for getting in touch"), "opening"
    )
    lines = [f"Hello{' ' + name if name else ''},", f"{opening} about {subject}."]
    if read.references:
        lines.append(f"We have found {_listed(read.references[:2])} and are looking into it.")
    if read.amounts:
        lines.append(f"We are checking the amount of {read.amounts[0]} that you mention.")
    if read.dates:
        lines.append(f"We have noted the date you give, {read.dates[0]}.")
    if read.key_sentences:
        lines.append(f'You wrote: "{shorten(read.key_sentences[0], 160)}"')
    lines.append(
        dice.pick(
            (
                "We will come back to you within one working day.",
                "A colleague will follow up with you today.",
                "We will let you know as soon as this is settled.",
            ),
            "closing",
        )
    )
    return " ".join(lines)


def short_summary(read: Reading) -> str:
    """The text in one sentence of its own."""
    best = read.key_sentences[0] if read.key_sentences else read.text
    return shorten(" ".join(best.split()), 220)


def chat_answer(read: Reading, dice: Dice) -> str:
    """An answer from what the text itself says about its question."""
    questions = [sentence for sentence in read.sentences if sentence.endswith("?")]
    orders = [sentence for sentence in read.sentences if _ORDER.match(sentence)]
    asked = (questions or orders or read.sentences or [read.text])[-1]
    known = Reading(
        " ".join(sentence for sentence in read.sentences if sentence not in questions and sentence != asked)
    )
    found = known.about(Reading(asked).words)[:2] or known.key_sentences[:2]
    subject = _listed(Reading(asked).keywords[:3]) or shorten(asked, 60) or "an empty message"
    if found:
        lead = dice.pick(("On", "As to", "Regarding"), "lead")
        return f"{lead} {subject}: " + " ".join(_ended(shorten(sentence, 300)) for sentence in found)
    lead = dice.pick(("You ask about", "Your question is about", "This concerns"), "lead")
    further = dice.pick(
        (
            "What matters most depends on the circumstances you have in mind.",
            "The usual way is to start small, measure, and adjust.",
            "Two things decide it: what it costs and what it is needed for.",
        ),
        "further",
    )
    return f"{lead} {subject}. {further}"


def _sender(read: Reading) -> str | None:
    """The name under the text, or the one it gives itself."""
    said = re.search(r"\b(?:my name is|this is|i am|i'm)\s+([A-Z][\w-]+(?:\s[A-Z][\w-]+)?)", read.text, re.I)
    if said and said.group(1)[0].isupper():
        return said.group(1)
    lines = [line.strip(" ,-") for line in read.text.splitlines() if line.strip()]
    if len(lines) > 1 and re.fullmatch(r"[^\W\d_]+(?:\s[^\W\d_]+){0,2}", lines[-1]) and lines[-1][0].isupper():
        return lines[-1]
    return None


def _subject(read: Reading) -> str:
    return _listed(read.keywords[:3]) or "your request"


def _listed(items: list[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", "…")) else sentence + "."
