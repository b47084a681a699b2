"""The connection parameters in an ``amqp://`` or ``amqps://`` URL.

Over TLS the server has to show a certificate that the system trusts, for the host of the URL. Three parameters of the
query, by the names of RabbitMQ's own URIs, change that: ``cacertfile`` trusts another authority, ``certfile`` and
``keyfile`` show a certificate of ours.
"""

from __future__ import annotations

import re
import ssl
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import pika

from errors import ConfigurationError
from reachability import ENCODE
from redaction import is_misread, without_password

#: Longest time of each step of connecting, s.
STEP_WITHIN_S: Final = 2.0
#: A server that is silent for twice this time is gone, s.
HEARTBEAT_S: Final = 5

_FILES: Final = ("cacertfile", "certfile", "keyfile")
_PARAMETERS: Final = "It takes cacertfile, certfile and keyfile (with amqps://), heartbeat, and pika's own."


def connection_parameters(url: str, *, setting: str = "HEADRACE_BROKER_URL") -> pika.URLParameters:
    """The parameters of the connection, with our time-outs.

    :raises ConfigurationError: the URL cannot be read, or a file that it names.
    """
    if is_misread(url):
        raise _refused(url, "the URL cannot be read", ENCODE, setting)
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
        files = {name: value for name, value in query if name in _FILES}
        rest = urlencode([pair for pair in query if pair[0] not in _FILES])
        parameters = pika.URLParameters(parts._replace(query=rest).geturl())
        asked = parameters.heartbeat
    except (ValueError, TypeError, IndexError):
        # Without the cause: it may quote the URL's parts and, if they are mistaken for each other, the password.
        part = _wrong_parameter(url)
        if part is not None:
            raise _refused(url, f"has a parameter that cannot be used: {part}", _PARAMETERS, setting) from None
        raise _refused(url, "the URL cannot be read", ENCODE, setting) from None
    if files:
        _use(files, parameters, url, setting)
    parameters.heartbeat = HEARTBEAT_S if asked is None else asked
    parameters.socket_timeout = STEP_WITHIN_S
    parameters.stack_timeout = 2 * STEP_WITHIN_S
    parameters.blocked_connection_timeout = 2 * HEARTBEAT_S
    parameters.connection_attempts = 1  # the link tries again in its own way
    parameters.client_properties = {"connection_name": "headrace"}
    return parameters


def _use(files: dict[str, str], parameters: pika.URLParameters, url: str, setting: str) -> None:
    if parameters.ssl_options is None:
        raise _refused(url, f"{', '.join(files)} without TLS", "Begin the URL with amqps://.", setting)
    try:
        context = ssl.create_default_context(cafile=files.get("cacertfile"))
        if "certfile" in files:
            context.load_cert_chain(files["certfile"], files.get("keyfile"))
    except OSError as error:  # an SSLError is one too
        why = error.strerror or "no such certificate or key in it"
        raise _refused(
            url, f"cannot use {', '.join(files.values())}: {why}", "They are read as PEM files.", setting
        ) from error
    parameters.ssl_options = pika.SSLOptions(context, parameters.host)


def _wrong_parameter(url: str) -> str | None:
    """The name of the first parameter of the URL that pika does not take, each tried by itself."""
    scheme, _, query = url.partition(":")[0], *url.partition("?")[1:]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _FILES:
            continue
        try:
            _ = pika.URLParameters(f"{scheme}://localhost/?{urlencode({name: value})}").heartbeat
        except (ValueError, TypeError, IndexError):
            return name if re.fullmatch(r"[a-z_]{1,40}", name) else None
    return None


def _refused(url: str, why: str, hint: str, setting: str) -> ConfigurationError:
    return ConfigurationError(why, field=setting, value=without_password(url), hint=hint)
