"""A contract clause summarised: under the headings that the prompt asks for, or in a few sentences."""

from __future__ import annotations

import re

from simulator.answers.dice import Dice
from simulator.answers.prose import ended, listed
from simulator.answers.reading import Reading, shorten

_HEADING = re.compile(r"^#{2,4}[ \t]+([A-Z][\w &/-]*)$", re.MULTILINE)
_DUTY = re.compile(
    r"\b(?:shall|must|agrees? to|undertakes?|is required to|may|will|warrants?|grants?|indemnif\w+|pays?|soll|muss|hat"
    r"|verpflichtet|darf|doit|s'engage|peut|deberá|podrá|debe)\b",
    re.I,
)
_LIMIT = re.compile(
    r"\b(?:not exceed|limited to|no more than|except|unless|provided that|sole\w*|exclu\w+|liab\w+|terminat\w+"
    r"|penalt\w+|reasonabl\w+|any reason|without|haft\w+|sauf|salvo)\b",
    re.I,
)
_VAGUE = re.compile(
    r"\b(?:reasonabl\w+|material\w*|promptly|forthwith|any reason|substantial\w*|from time to time)\b", re.I
)
_PARTY = re.compile(
    r"\b(Supplier|Customer|Client|Provider|Contractor|Consultant|Agency|Licensor|Licensee|Tenant|Landlord|Buyer"
    r"|Purchaser|Seller|Employer|Employee|Recipient|Discloser|Disclosing Party|Receiving Party|Processor|Controller"
    r"|Company|Vendor|Lessee|Lessor)\b"
)
_SECTIONS = (
    (re.compile(r"oblig|dut|right", re.I), "duties"),
    (re.compile(r"risk|concern|issue|limit", re.I), "risks"),
    (re.compile(r"date|deadline|period|term", re.I), "times"),
)


def legal_summary(read: Reading, instructions: str, dice: Dice) -> str:
    """The duties that the clause gives to each party.

    :param instructions: the system prompt; the Markdown headings that it shows become the summary's.
    """
    headings = list(dict.fromkeys(_HEADING.findall(instructions)))
    if not headings:
        return _in_prose(read, dice)
    return "\n\n".join(f"### {heading}\n{_section(heading, read, dice)}" for heading in headings)


def _section(heading: str, read: Reading, dice: Dice) -> str:
    kind = next((kind for pattern, kind in _SECTIONS if pattern.search(heading)), "other")
    match kind:
        case "duties":
            lines = [ended(shorten(sentence, 300)) for sentence in _duties(read)]
        case "risks":
            lines = _risks(read, dice)
        case "times":
            lines = _times(read)
        case _:
            found = read.about(heading.lower().split()) or read.key_sentences
            lines = [ended(shorten(sentence, 300)) for sentence in found[:3]]
    return "\n".join(f"- {line}" for line in lines) if lines else "None stated."


def _duties(read: Reading) -> list[str]:
    return [sentence for sentence in read.sentences if _DUTY.search(sentence)][:5] or read.key_sentences[:2]


def _risks(read: Reading, dice: Dice) -> list[str]:
    lines = []
    for sentence in read.sentences:
        if (found := _LIMIT.search(sentence)) and len(sentence.split()) > 6:
            note = dice.pick(("may be one-sided", "may be contested", "deserves a second look"), sentence)
            lines.append(f'"{found.group()}" {note}: {ended(shorten(sentence, 220))}')
    lines += [f'"{word}" is not defined in the clause.' for word in dict.fromkeys(_VAGUE.findall(read.text))]
    if not read.spans:
        lines.append("No notice or cure period is stated.")
    return lines[:5]


def _times(read: Reading) -> list[str]:
    lines = []
    for time in [*read.dates, *read.spans]:
        where = next((sentence for sentence in read.sentences if time in sentence), time)
        lines.append(f"{time}: {ended(shorten(where, 200))}")
    return lines[:5]


def _in_prose(read: Reading, dice: Dice) -> str:
    parties = list(dict.fromkeys(_PARTY.findall(read.text)))[:3] or read.names[:2]
    duties = _duties(read)
    rest = [sentence for sentence in read.sentences if sentence not in duties[:2] and len(sentence.split()) > 6]
    limits = [sentence for sentence in rest if _LIMIT.search(sentence)]
    between = f" between {listed(parties)}" if len(parties) > 1 else f" for {parties[0]}" if parties else ""
    opening = dice.pick(("This clause governs", "The clause deals with", "In substance, the clause settles"), "opening")
    lines = [f"{opening} {', '.join(read.keywords[:3]) or 'the matter at hand'}{between}."]
    lines += [ended(shorten(duty, 320)) for duty in duties[:2]]
    if limits:
        lead = dice.pick(("Limits:", "It is qualified:", "Note the restriction:"), "limits")
        lines.append(f"{lead} {ended(shorten(limits[0], 260))}")
    facts = [
        f"{kind} {listed(found[:3])}"
        for kind, found in (("sums of", read.amounts), ("periods of", read.spans), ("the date", read.dates))
        if found
    ]
    return " ".join([*lines, f"It names {listed(facts)}."] if facts else lines)
