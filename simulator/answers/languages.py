"""Enough German, French and Spanish to tell them apart and to recognise what a ticket or a question is about."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Language = Literal["en", "de", "fr", "es"]

NAMES: dict[Language, str] = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}

_TELLING: dict[Language, str] = {
    "en": "the and is are you we our my not this that with have has for can was it to of in on be but when",
    "de": (
        "der die das und ist nicht wir ich sie mit haben hat für kann eine einen den dem wie viele auf bei von zu im"
        " zwischen wenn wäre aber auch noch nur nach seit aus sich man guten uns ihre ihr wird werden sind war oder als"
        " damen herren geehrte freundlichen grüßen danke bitte mehr keine kein alle einem einer dass"
    ),
    "fr": (
        "le la les des est une nous vous je pas avec pour dans sur que qui et du au ce plus par comment mon notre"
        " bonjour merci depuis cette ces sont elle ils mais faire fait peut aux leur quand sans tout deux cordialement"
        " votre nos ont été être c'est d'une qu'il"
    ),
    "es": (
        "el la los las es una nosotros yo no con para en que y del al por cómo mi nuestro se lo pero está qué cuando"
        " desde hola buenas buenos días tardes gracias este esta sí si les más muy como sin sale han he ha son tienen"
        " casi todos saludos quedado"
    ),
}
_SETS = {language: frozenset(words.split()) for language, words in _TELLING.items()}

_LEXICON: dict[str, str] = {
    # asking for data
    "wie viele": "how many",
    "wie viel": "how much",
    "wieviel": "how much",
    "combien de": "how many",
    "combien": "how many",
    "cuántos": "how many",
    "cuántas": "how many",
    "durchschnittliche": "average",
    "durchschnittlich": "average",
    "durchschnitt": "average",
    "moyen": "average",
    "moyenne": "average",
    "promedio": "average",
    "chiffre d'affaires": "revenue",
    "umsatz": "revenue",
    "gesamt": "total",
    "letzten": "last",
    "derniers": "last",
    "últimos": "last",
    "pro": "per",
    "je": "per",
    "par": "per",
    "por": "per",
    "tag": "day",
    "tagen": "days",
    "tage": "days",
    "jours": "days",
    "días": "days",
    "woche": "week",
    "wochen": "weeks",
    "semaine": "week",
    "semana": "week",
    "monat": "month",
    "monate": "months",
    "mois": "month",
    "mes": "month",
    "trimestre": "quarter",
    "quartal": "quarter",
    "jahr": "year",
    "année": "year",
    "año": "year",
    "mehr als": "more than",
    "plus de": "more than",
    "más de": "more than",
    # what it is about
    "kunden": "customers",
    "kunde": "customer",
    "clients": "customers",
    "clientes": "customers",
    "commande": "order",
    "commandes": "orders",
    "bestellungen": "orders",
    "pedidos": "orders",
    "produits": "products",
    "articles": "products",
    "pays": "country",
    "land": "country",
    "canal": "channel",
    "panier": "order",
    "colis": "shipments",
    "transporteur": "carrier",
    "catégorie": "category",
    "fahrten": "rides",
    "fahrt": "ride",
    "fahrer": "riders",
    "räder": "bikes",
    "radtyp": "kind",
    "stationen": "stations",
    "tarif": "plan",
    "entfernung": "distance",
    "kilometer": "distance",
    "reparaturen": "repairs",
    "repariert": "repair",
    "viajes": "rides",
    "bici": "bike",
    "barrios": "district",
    "cuentas": "accounts",
    "konten": "accounts",
    "comptes": "accounts",
    # what a customer writes about
    "rechnung": "invoice",
    "rechnungen": "invoices",
    "facture": "invoice",
    "factures": "invoices",
    "factura": "invoice",
    "cobran": "charged",
    "devuelvan": "refund",
    "importe": "amount",
    "zahlung": "payment",
    "paiement": "payment",
    "fehler": "error",
    "erreur": "error",
    "stürzt": "crash",
    "geht nicht": "broken",
    "funktioniert nicht": "broken",
    "ne fonctionne": "broken",
    "no funciona": "broken",
    "konto": "account",
    "compte": "account",
    "cuenta": "account",
    "passwort": "password",
    "contraseña": "password",
    "mot de passe": "password",
    "löschen": "delete",
    "daten": "data",
    "hilfreich": "suggestion",
    "suggestion": "suggestion",
    "könnte": "would",
    "wünsche": "wish",
    "quisiera": "wish",
    "voudrais": "wish",
    "wie richte": "how do",
    "wie": "how",
    "comment": "how",
    "cómo": "how",
    "einstellen": "setting",
    "dringend": "urgent",
    "urgente": "urgent",
    "frist": "deadline",
    "heute": "today",
    "aujourd'hui": "today",
    "hoy": "today",
}
_KNOWN = re.compile(
    r"(?<![^\W_])(?:" + "|".join(sorted(map(re.escape, _LEXICON), key=len, reverse=True)) + r")(?![^\W_])"
)


@lru_cache(maxsize=256)
def detect(text: str) -> Language:
    """The language that most of the function words belong to; English in doubt."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    score = {language: sum(word in known for word in words) for language, known in _SETS.items()}
    best = max(score, key=lambda language: score[language])
    return best if score[best] > score["en"] else "en"


def function_words(text: str) -> frozenset[str]:
    """The words that carry no meaning of their own, of the language that ``text`` is in."""
    return _SETS[detect(text)]


@lru_cache(maxsize=256)
def gist(text: str) -> str:
    """``text`` in lower case, with the words that are known here put into English where it is in another language."""
    lower = text.lower()
    if detect(lower) == "en":
        return lower
    return _KNOWN.sub(lambda match: _LEXICON[match.group()], lower)
