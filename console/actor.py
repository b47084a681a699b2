"""The person or account that the audit records for a change."""

from __future__ import annotations

import os
import pwd


def actor() -> str:
    """The user of this machine that runs the command. The kernel names the user; the environment could be wrong."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user may have no name
        return f"uid {uid}"
