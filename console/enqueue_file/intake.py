"""Many jobs from a stream of lines, a few at a time, so that neither the file nor its results are ever held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from console.enqueue_file.lines import FileLine
from console.terminal.interrupt import Stop
from errors import HeadraceError, InvalidInputError
from producers import Client, Quote

WINDOW_LINES = 2000
WINDOW_BYTES = 16_000_000
_MOST_TENANTS_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class LineOutcome:
    """The outcome of one line: the job's id, or why it was refused. ``size`` is the line's, bytes.

    ``already``: a job with its idempotency key existed before.
    """

    number: int
    size: int
    job_id: UUID | None
    error: HeadraceError | None
    already: bool = False


@dataclass(frozen=True, slots=True)
class Quoted:
    """The quote of one line's job, or why it would be refused."""

    number: int
    quote: Quote | None
    error: HeadraceError | None


class FileIntake:
    """Turns lines into jobs, or only quotes them."""

    def __init__(self, client: Client, find_tenant: Callable[[str], UUID], *, tenant: str | None = None) -> None:
        """Take lines for the tenants that they name, or for one.

        :param find_tenant: the id of the tenant that an id, external id or name means.
        :param tenant: the tenant of all lines; a line may still name it.
        :raises InvalidInputError: there is no such tenant. The error may name tenants, because the operator typed this
            one.
        """
        self._client = client
        self._find_tenant = find_tenant
        self._known: dict[str, UUID | InvalidInputError] = {}
        self._tenant = None if tenant is None else find_tenant(tenant)

    def take(self, lines: Iterable[FileLine], stop: Stop) -> Iterator[list[LineOutcome]]:
        """The outcomes of the lines, window by window, in their order. A window that was yielded is committed.

        A signal ends the run after the current window, once its outcomes have been reported.
        """
        for window in _windows(lines):
            with stop.step():
                yield self._put(window)

    def quote(self, lines: Iterable[FileLine], stop: Stop) -> Iterator[list[Quoted]]:
        """The quotes of the lines' jobs, window by window, in their order. Nothing is inserted."""
        for window in _windows(lines):
            with stop.step():
                yield self._quoted(window)

    def _put(self, window: list[FileLine]) -> list[LineOutcome]:
        requests, numbers, errors = self._requests(window)
        batch = self._client.enqueue_many(requests)
        errors |= {numbers[one.index]: one.error for one in batch.refused}
        ids = dict(zip(numbers, batch.job_ids, strict=True))
        already = {numbers[index] for index in batch.repeated}
        return [
            LineOutcome(one.number, one.size, ids.get(one.number), errors.get(one.number), one.number in already)
            for one in window
        ]

    def _quoted(self, window: list[FileLine]) -> list[Quoted]:
        requests, numbers, errors = self._requests(window)
        said: dict[int, Quote | HeadraceError] = dict(zip(numbers, self._client.quote_many(requests), strict=True))
        said |= errors
        return [
            Quoted(one.number, None, told) if isinstance(told, HeadraceError) else Quoted(one.number, told, None)
            for one in window
            for told in (said[one.number],)
        ]

    def _requests(self, window: list[FileLine]) -> tuple[list[Mapping[str, Any]], list[int], dict[int, HeadraceError]]:
        """The requests of a window, the lines that they are on, and the errors of the other lines."""
        errors: dict[int, HeadraceError] = {}
        requests: list[Mapping[str, Any]] = []
        numbers: list[int] = []
        for line in window:
            try:
                requests.append(self._request(line))
                numbers.append(line.number)
            except InvalidInputError as error:
                errors[line.number] = error
        return requests, numbers, errors

    def _request(self, line: FileLine) -> Mapping[str, Any]:
        if line.error is not None:
            raise line.error
        fields = line.fields or {}
        named = fields.get("tenant_id")
        if named is None:
            if self._tenant is None:
                raise InvalidInputError("is missing", field="tenant_id", hint="Or give --tenant for all lines.")
            return {**fields, "tenant_id": self._tenant}
        if not isinstance(named, str):
            raise InvalidInputError("must be text", field="tenant_id", value=named)
        tenant_id = self._tenant_id(named)
        if self._tenant not in (None, tenant_id):
            raise InvalidInputError("is another tenant than --tenant", field="tenant_id", value=named)
        return {**fields, "tenant_id": tenant_id}

    def _tenant_id(self, given: str) -> UUID:
        known = self._known.get(given)
        if known is None:
            known = self._look_up(given)
            if len(self._known) >= _MOST_TENANTS_KNOWN:
                self._known.clear()
            self._known[given] = known
        if isinstance(known, InvalidInputError):
            raise known.with_traceback(None)  # raised again and again: its traceback must not grow
        return known

    def _look_up(self, given: str) -> UUID | InvalidInputError:
        """The tenant that a line names, or why there is none. The error names no other tenant, because a customer may
        read it.
        """
        try:
            return self._find_tenant(given)
        except InvalidInputError as error:
            error.field = "tenant_id"
            if error.hint is not None:
                error.hint = "`headrace tenants list` shows all tenants."
            return error


def _windows(lines: Iterable[FileLine]) -> Iterator[list[FileLine]]:
    """The lines in windows: neither the number of lines nor their bytes exceed a window's limits."""
    window: list[FileLine] = []
    size = 0
    for line in lines:
        window.append(line)
        size += line.size
        if len(window) >= WINDOW_LINES or size >= WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window
