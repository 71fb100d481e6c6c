"""Fast DDS keeps its messages in shared memory and leaves it there when a process is killed; enough of it makes discovery crawl."""

from __future__ import annotations

import contextlib
import fcntl
import re
import time
from pathlib import Path

MEMORY = Path("/dev/shm")
LOCK = re.compile(r"fastdds_(port\d{1,5}|[0-9a-f]{16})_[es]l")
YOUNG_S = 2.0  # a file this new may belong to a process that has not locked it yet


def sweep_dead_memory(folder: Path = MEMORY) -> list[str]:
    """Remove segments and ports whose owner is dead; returns their names.

    A live owner holds the lock of the file that ends in `_el` (a port that several listen to: `_sl`), as in Fast DDS's own
    `fastdds shm clean`, which a system without its command-line tools lacks.
    """
    removed = []
    for lock in sorted(path for path in folder.glob("fastdds_*") if LOCK.fullmatch(path.name)):
        if _is_dead(lock):
            name = lock.name[:-3]
            for path in (folder / name, folder / f"sem.{name}_mutex", lock):
                with contextlib.suppress(OSError):
                    path.unlink()
            removed.append(name)
    return removed


def _is_dead(lock: Path) -> bool:
    """True if nobody holds the lock and it is not just being made."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            return time.time() - lock.stat().st_mtime > YOUNG_S
    except OSError:  # held, gone, or another user's
        return False
