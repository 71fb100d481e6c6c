"""Children that do not outlive who started them."""

from __future__ import annotations

import ctypes

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int) -> None:
    """In a child, before anything else: the process gets this signal when the thread that started it ends."""
    _LIBC.prctl(PR_SET_PDEATHSIG, number)
