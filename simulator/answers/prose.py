"""Prose answers from the words that were read: a summary, a reply to a customer, an answer in a chat."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.answers.dice import Dice
from simulator.answers.languages import NAMES, Language, detect
from simulator.answers.reading import Reading, shorten

_ORDER = re.compile(
    r"(?:please\s+)?(?:tell|explain|describe|write|list|give|compare|summari[sz]e|translate|name)\b", re.I
)


@dataclass(frozen=True, slots=True)
class _Phrases:
    """What a reply says in one language."""

    hello: str
    thanks: tuple[str, ...]
    found: str
    amount: str
    date: str
    wrote: str
    closing: tuple[str, ...]


_REPLY: dict[Language, _Phrases] = {
    "en": _Phrases(
        "Hello",
        (
            "Thank you for writing to us about {0}.",
            "Thank you for your message about {0}.",
            "Thanks for asking about {0}.",
        ),
        "We have found {0} and are looking into it.",
        "We are checking the amount of {0} that you mention.",
        "We have noted the date you give, {0}.",
        'You wrote: "{0}"',
        ("We will come back to you within one working day.", "We will let you know as soon as this is settled."),
    ),
    "de": _Phrases(
        "Guten Tag",
        ("vielen Dank für Ihre Nachricht zu {0}.", "danke, dass Sie uns zu {0} schreiben."),
        "Wir haben {0} gefunden und sehen es uns an.",
        "Den Betrag von {0}, den Sie nennen, prüfen wir.",
        "Das Datum, {0}, haben wir uns notiert.",
        "Sie schreiben: „{0}“",
        ("Wir melden uns innerhalb eines Werktags.", "Sobald das geklärt ist, geben wir Ihnen Bescheid."),
    ),
    "fr": _Phrases(
        "Bonjour",
        ("merci pour votre message au sujet de {0}.", "merci de nous avoir écrit au sujet de {0}."),
        "Nous avons trouvé {0} et nous l'examinons.",
        "Nous vérifions le montant de {0} que vous indiquez.",
        "Nous avons noté la date, {0}.",
        "Vous écrivez : « {0} »",
        ("Nous revenons vers vous sous un jour ouvré.", "Nous vous tenons au courant dès que c'est réglé."),
    ),
    "es": _Phrases(
        "Hola",
        ("gracias por su mensaje sobre {0}.", "gracias por escribirnos acerca de {0}."),
        "Hemos encontrado {0} y lo estamos revisando.",
        "Estamos comprobando el importe de {0} que indica.",
        "Hemos anotado la fecha, {0}.",
        "Usted escribe: «{0}»",
        ("Le responderemos en un día laborable.", "Le avisaremos en cuanto esté resuelto."),
    ),
}


def reply_draft(read: Reading, dice: Dice, addressee: str | None = None) -> str:
    """A reply to the author, in the language of the text.

    :param addressee: the author, for texts that are not signed.
    """
    phrases = _REPLY[detect(read.text)]
    name = _sender(read) or addressee
    lines = [f"{phrases.hello} {name}," if name else f"{phrases.hello},"]
    lines.append(dice.pick(phrases.thanks, "thanks").format(", ".join(read.keywords[:3]) or "…"))
    for phrase, found in (
        (phrases.found, read.references[:2]),
        (phrases.amount, read.amounts[:1]),
        (phrases.date, read.dates[:1]),
        (phrases.wrote, [shorten(sentence, 160) for sentence in read.key_sentences[:1]]),
    ):
        if found:
            lines.append(phrase.format(", ".join(found)))
    lines.append(dice.pick(phrases.closing, "closing"))
    return " ".join(lines)


def short_summary(read: Reading) -> str:
    """The text in a sentence or two of English."""
    best = shorten(" ".join((read.key_sentences[0] if read.key_sentences else read.text).split()), 220)
    language = detect(read.text)
    if language == "en":
        return best
    facts = listed([*read.references[:2], *read.amounts[:1], *read.dates[:2]])
    named = f" It names {facts}." if facts else ""
    return f'A message in {NAMES[language]} about {listed(read.keywords[:4])}: "{shorten(best, 120)}"{named}'


def chat_answer(read: Reading, dice: Dice) -> str:
    """An answer from what the text itself says about its question."""
    questions = [sentence for sentence in read.sentences if sentence.endswith("?")]
    orders = [sentence for sentence in read.sentences if _ORDER.match(sentence)]
    asked = (questions or orders or read.sentences or [read.text])[-1]
    left_out = {*questions, *orders, asked}
    known = Reading("\n\n".join(sentence for sentence in read.sentences if sentence not in left_out))
    found = known.about(Reading(asked).words)[:2] or known.key_sentences[:2]
    subject = listed(Reading(asked).keywords[:3]) or shorten(asked, 60) or "an empty message"
    if found:
        lead = dice.pick(("On", "As to", "Regarding"), "lead")
        return f"{lead} {subject}: " + " ".join(ended(shorten(sentence, 300)) for sentence in found)
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


def listed(items: list[str]) -> str:
    """The items as a list in a sentence."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def ended(sentence: str) -> str:
    """The sentence with a full stop, if it has no end yet."""
    return sentence if sentence.endswith((".", "!", "?", "…")) else sentence + "."


def _sender(read: Reading) -> str | None:
    """The name under the text, or the one it gives itself."""
    said = re.search(r"\b(?:[Mm]y name is|[Tt]his is|I am|I'm)\s+([A-Z][\w-]+\s[A-Z][\w-]+)", read.text)
    if said:
        return said.group(1)
    lines = [line.strip(" ,-") for line in read.text.splitlines() if line.strip()]
    if len(lines) > 1 and re.fullmatch(r"(?:Dr\. )?[^\W\d_a-z][^\W\d_]+(?:[\s-][^\W\d_a-z][^\W\d_]+){0,3}", lines[-1]):
        return lines[-1]
    return None
