"""Everything that a person could see of an error."""

from __future__ import annotations

import traceback


def everything_shown(error: BaseException) -> str:
    """All that a log, a debugger's page or an error tracker could print of an error, the variables of frames too."""
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # the test's own frame knows the key, of course
    shown = ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    current: BaseException | None = error
    while current is not None:
        shown += [str(current), repr(current), repr(current.args), repr(vars(current))]
        current = current.__cause__ or current.__context__
    return "\n".join(shown)
