"""What an ``amqp://`` or ``amqps://`` URL says, as parameters of a connection.

Over TLS the server has to show a certificate that the system trusts, for the host of the URL. Three parameters of the
query, by the names of RabbitMQ's own URIs, change that: ``cacertfile`` trusts another authority, ``certfile`` and
``keyfile`` show a certificate of ours.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import pika

from errors import ConfigurationError
from queues.redacted import is_misread, without_password

#: Longest time that connecting may take for each of its steps, s.
STEP_WITHIN_S: Final = 2.0
#: A server that says nothing for twice this time is gone, s.
HEARTBEAT_S: Final = 5

_FILES: Final = ("cacertfile", "certfile", "keyfile")


def connection_parameters(url: str) -> pika.URLParameters:
    """What to connect to, with the time-outs that we want.

    :raises ConfigurationError: the URL cannot be read, or a file that it names.
    """
    hint = "Special characters in a password have to be percent-encoded."
    if is_misread(url):
        raise _refused(url, "the URL cannot be read", hint)
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
        files = {name: value for name, value in query if name in _FILES}
        rest = urlencode([pair for pair in query if pair[0] not in _FILES])
        parameters = pika.URLParameters(parts._replace(query=rest).geturl())
        asked = parameters.heartbeat
    except (ValueError, TypeError, IndexError):
        # Without the cause: it may quote the URL's parts, and where they are mistaken for each other, the password.
        raise _refused(url, "the URL cannot be read", hint) from None
    if files:
        _use(files, parameters, url)
    parameters.heartbeat = HEARTBEAT_S if asked is None else asked
    parameters.socket_timeout = STEP_WITHIN_S
    parameters.stack_timeout = 2 * STEP_WITHIN_S
    parameters.blocked_connection_timeout = 2 * HEARTBEAT_S
    parameters.connection_attempts = 1  # the link tries again in its own way
    parameters.client_properties = {"connection_name": "headrace"}
    return parameters


def _use(files: dict[str, str], parameters: pika.URLParameters, url: str) -> None:
    if parameters.ssl_options is None:
        raise _refused(url, f"{', '.join(files)} without TLS", "Begin the URL with amqps://.")
    try:
        context = ssl.create_default_context(cafile=files.get("cacertfile"))
        if "certfile" in files:
            context.load_cert_chain(files["certfile"], files.get("keyfile"))
    except OSError as error:  # an SSLError is one too
        why = error.strerror or "no such certificate or key in it"
        raise _refused(url, f"cannot use {', '.join(files.values())}: {why}", "They are read as PEM files.") from error
    parameters.ssl_options = pika.SSLOptions(context, parameters.host)


def _refused(url: str, why: str, hint: str) -> ConfigurationError:
    return ConfigurationError(why, field="HEADRACE_BROKER_URL", value=without_password(url), hint=hint)
