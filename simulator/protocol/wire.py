"""The interface of a provider's wire format; there are two implementations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from simulator.protocol.asked import SimulatedRequest
from simulator.protocol.faults import Provider
from simulator.protocol.tokens import SimulatedUsage

Trouble = Literal[
    "invalid", "no_key", "wrong_key", "unknown_model", "rate_limited", "broken", "overloaded", "timed_out"
]

STATUS: Mapping[Trouble, int] = {
    "invalid": 400,
    "no_key": 401,
    "wrong_key": 401,
    "unknown_model": 404,
    "rate_limited": 429,
    "broken": 500,
    "timed_out": 504,
    "overloaded": 529,
}


class RefusedError(Exception):
    """The request is answered with an error body.

    :param message: the provider's message.
    :param param: the request field at fault, as the provider writes it.
    :param code: the provider's own code, where it has one.
    """

    def __init__(
        self,
        trouble: Trouble,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        model: str | None = None,
    ) -> None:
        self.trouble: Trouble = trouble
        self.message = message
        self.param = param
        self.code = code
        self.model = model
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer on the wire; ``parts`` are sent one after the other; a stream of events has more than one."""

    content_type: str
    parts: tuple[bytes, ...]
    usage: SimulatedUsage

    @property
    def streamed(self) -> bool:
        return len(self.parts) > 1

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)


class WireFormat(Protocol):
    """One provider's format: requests in, answers and errors out."""

    @property
    def provider(self) -> Provider: ...

    @property
    def request_id_header(self) -> bytes: ...

    def request_id(self, number: int) -> str:
        """The id of this server's ``number``-th request."""
        ...

    def check_key(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise :class:`RefusedError` when there is no key of the right kind."""
        ...

    def read(self, body: bytes) -> SimulatedRequest:
        """The request in ``body``.

        :raises RefusedError: when the provider would answer 400 or 404.
        """
        ...

    def reply(self, asked: SimulatedRequest, text: str, request_id: str) -> Reply:
        """The answer ``text``, cut to what was asked for, with its usage."""
        ...

    def error(self, refused: RefusedError, request_id: str) -> bytes:
        """The body of an error answer."""
        ...

    def models(self) -> bytes:
        """The body that lists the models."""
        ...
