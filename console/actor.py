"""Who does what the audit records."""

from __future__ import annotations

import os
import pwd


def actor() -> str:
    """The user of this machine that runs the command, by the kernel's word, not the environment's."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {uid}"
