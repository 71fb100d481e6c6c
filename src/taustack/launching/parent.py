"""Children that do not outlive who started them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int) -> Callable[[], None]:
    """For Popen's preexec_fn: the child gets this signal when its parent dies."""

    def ask() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, number)

    return ask
