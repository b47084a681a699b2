"""Why a server was not reached, derived from the message of the library that tried.

Libraries raise one class for all reasons, a wrong password included. The reason decides what a person does next: start
the server, correct the host, open the firewall, or correct the password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ENCODE: Final = "Percent-encode every special character of a password: @ is %40, / is %2F, # is %23, % is %25."


@dataclass(frozen=True, slots=True)
class Unreached:
    """``reason`` is for programs; ``phrase`` continues "Postgres at …"; ``hint`` names the setting as ``{setting}``."""

    reason: str
    phrase: str
    hint: str

    def hint_for(self, setting: str) -> str:
        """What to do about it."""
        return self.hint.format(setting=setting)


_NAMES = re.compile(r"\"[^\"]*\"|'[^'\s]*'")  # names of hosts, users and databases: they are not part of the reason

_REST = Unreached(
    "silent", "does not answer", "Is it running and reachable? See {setting}; `headrace doctor` checks every service."
)

# The first match counts.
_REASONS: Final = (
    (
        r"password authentication failed|no password supplied|pg_hba\.conf|role \S* ?does not exist"
        r"|not permitted to log in|authentication failed|no such user|WRONGPASS|NOAUTH|username-password"
        r"|Authentication required|ACCESS_REFUSED|ProbableAuthenticationError",
        Unreached("login", "refuses the login", f"Check user and password in {{setting}}. {ENCODE}"),
    ),
    (
        r"database \S* ?does not exist|no such database|ProbableAccessDenied|NOT_ALLOWED|DB index",
        Unreached("database", "has no such database or virtual host", "Check the last part of the path in {setting}."),
    ),
    (
        r"too many clients|remaining connection slots|too many connections|max number of clients",
        Unreached("connections", "is out of connections", "Raise its limit, or put a pooler in front."),
    ),
    (
        r"Servname not supported|invalid port",
        Unreached("port", "was not asked: the port is not a number", f"Check the port in {{setting}}. {ENCODE}"),
    ),
    (
        r"failed to resolve|could not translate host|Name or service not known|nodename nor servname|name resolution"
        r"|gaierror|getaddrinfo",
        Unreached("no_such_host", "was not found: no such host", f"Check the host in {{setting}}. {ENCODE}"),
    ),
    (
        r"Connection refused|ConnectionRefused|\bErrno 111\b",
        Unreached(
            "refused", "does not answer: nothing listens there", "Is it running, and is the port in {setting} right?"
        ),
    ),
    (
        r"No such file or directory",
        Unreached(
            "no_socket", "does not answer: there is no such socket", "Is it running? Check the path in {setting}."
        ),
    ),
    (
        r"certificate|\bSSL\b|\bTLS\b|ssl\.",
        Unreached("tls", "does not agree on TLS", "Check the scheme, the port and the certificates in {setting}."),
    ),
    (
        r"timeout|timed out|No route to host|unreachable|Host is down",
        Unreached(
            "unreachable", "does not answer: it cannot be reached",
            "It is down, or a network or firewall blocks it. Check host and port in {setting}.",
        ),
    ),
)  # fmt: skip


def why_unreached(said: str) -> Unreached:
    """The reason in a library's message about a connection that it could not make or keep."""
    told = _NAMES.sub("", said)
    return next((why for pattern, why in _REASONS if re.search(pattern, told, re.IGNORECASE)), _REST)
