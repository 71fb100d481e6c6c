"""Many calls of one function, in order whatever runs them: this process, a pool of processes here, or Ray beyond one machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from taustack.errors import TaustackError
from taustack.parent import die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")
LOCAL = "local"
IN_FLIGHT = 4  # calls a worker that wait with Ray: enough to keep it busy, few enough to hold little


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where calls run. count: processes, one a core if None. ray: address of a cluster, `local` starts one here, empty is none."""

    count: int | None = None
    ray: str = ""


def run_all(
    function: Callable[[Item], Result], items: Sequence[Item], workers: Workers = Workers(), on_done: Callable[[int], object] = lambda _: None
) -> list[Result]:
    """function(item) of each item, in the order of the items. The function must depend on its item alone.

    Raises:
        TaustackError: Ray was asked for and is not installed, or its cluster is not there.
    """
    if workers.ray:
        return _with_ray(function, items, workers, on_done)
    count = min(len(items), workers.count or os.cpu_count() or 1)
    results: list[Result] = []
    if count <= 1:
        for item in items:
            results.append(function(item))
            on_done(1)
        return results
    # Spawned, not forked: the parent has threads and sessions that a child must not share.
    # A parent that is killed takes them along: each would go on with its call, and the calls that wait, for as long as those take.
    with multiprocessing.get_context("spawn").Pool(count, die_with_parent, (signal.SIGKILL,)) as pool:
        for result in pool.imap(function, items):
            results.append(result)
            on_done(1)
    return results


def _with_ray(function: Callable[[Item], Result], items: Sequence[Item], workers: Workers, on_done: Callable[[int], object]) -> list[Result]:
    try:
        import ray
    except ImportError:
        raise TaustackError("Ray is not installed: pip install 'taustack[scale]'") from None
    started = not ray.is_initialized()
    if started:
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
        environment = {"env_vars": {"OMP_NUM_THREADS": "1", "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl"), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}}
        try:
            if workers.ray == LOCAL:
                ray.init(num_cpus=workers.count or os.cpu_count(), runtime_env=environment, **options)
            else:
                ray.init(address=workers.ray, runtime_env=environment, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise TaustackError(f"no Ray cluster at {workers.ray}: {error}") from None
    try:
        remote = ray.remote(function)
        most = IN_FLIGHT * int(ray.cluster_resources().get("CPU", 1))
        waiting: list[Any] = []
        results: list[Result] = []
        for item in items:
            waiting.append(remote.remote(item))
            if len(waiting) >= most:
                results.append(ray.get(waiting.pop(0)))
                on_done(1)
        for reference in waiting:
            results.append(ray.get(reference))
            on_done(1)
        return results
    finally:
        if started:
            ray.shutdown()
