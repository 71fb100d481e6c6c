"""What every node's process does: start, stop on SIGINT or SIGTERM, one line for bad input, exit codes."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future as Work
from pathlib import Path
from typing import NoReturn, Protocol

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from taustack.errors import TaustackError
from taustack.realtime import ask_for_real_time, real_time_wanted
from taustack.stop_flag import StopFlag, stop_on_signals
from taustack_ros import topics
from taustack_ros.plain_process import write_or_warn

HEARTBEAT_S = 0.1
PROFILE = Path(__file__).with_name("fastdds.xml")  # how soon a killed participant counts as gone
HUNG_S = 1.0  # a main loop without progress for this long gives no heartbeat


class Runs(Protocol):
    """A node with a main loop of its own; the executor spins beside it."""

    def run(self, stop: StopFlag) -> None:
        """Work until `stop` is set, then leave the robot safe."""
        ...


def start_heartbeat(node: Node) -> None:
    """Signs of life from the executor; a node with `progress_at` (monotonic, [s]) gives them only while its main loop moves on."""
    publisher = node.create_publisher(topics.HEARTBEAT.type, topics.HEARTBEAT.name, topics.HEARTBEAT.qos)

    def beat() -> None:
        if time.monotonic() - getattr(node, "progress_at", time.monotonic()) < HUNG_S:
            message = topics.HEARTBEAT.type(node=node.get_name(), pid=os.getpid())
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)

    node.create_timer(HEARTBEAT_S, beat)


def write_statistics(folder: str, name: str, figures: Mapping[str, object]) -> None:
    """A node's part of a run's summary; no folder, no file. A disk that takes no more is said and stops nothing."""
    if not folder:
        return

    def write() -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_text(json.dumps(figures, indent=1))

    write_or_warn(write)


def run_node(make: Callable[[], Node], priority: int | None = None) -> int:
    """Make a node, spin it in a thread, call its `run(stop)` in this one; returns the exit code, for `leave`.

    With a priority the whole process asks for SCHED_FIFO before it makes any thread: a thread that holds the interpreter's
    lock at a lower priority would otherwise keep a higher one waiting for as long as the planner computes.
    """
    if priority is not None and real_time_wanted():
        refused = ask_for_real_time(priority)
        if refused:
            print(f"warning: {refused}", file=sys.stderr, flush=True)
        sys.setswitchinterval(2e-4)
    faulthandler.enable()
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(PROFILE))
    stop = stop_on_signals()
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    node: Node | None = None
    try:
        node = make()
        start_heartbeat(node)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spinner = threading.Thread(target=_spin, args=(executor, stop), name="executor", daemon=True)
        spinner.start()
        node.run(stop)  # type: ignore[attr-defined]
        stop.set("the work is done")  # what the spinner meets from here on is the end
        executor.shutdown(timeout_sec=1.0)
        spinner.join(timeout=1.0)
        return 1 if stop.failed else 0
    except TaustackError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def leave(code: int) -> NoReturn:
    """End the process, also if a thread is still in the middle of something that is not Python.

    A daemon thread that comes back from C++ while the interpreter is taken apart is ended by an exception that C++ does not know: the
    process aborts. A bundle's sessions may be in the making when SIGTERM comes; all that must be closed is closed by then.
    """
    others = [t for t in threading.enumerate() if t.daemon and not isinstance(t, threading.Timer)]
    if others:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


async def done_in(work: Work[object], executor: Executor) -> None:
    """For a coroutine of the executor: wait until something in another thread is done, while other callbacks go on."""
    done = Future(executor=executor)

    def tell(_: object) -> None:
        done.set_result(True)
        executor.wake()  # else the coroutine goes on with the next message or timer only

    work.add_done_callback(tell)
    await done


def _spin(executor: Executor, stop: StopFlag) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        stop.set("shutdown")
    except Exception as error:  # a callback's error must stop the robot, not die in a thread
        if stop.is_set():  # rclpy takes its own executor apart at the end
            return
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        stop.set("a callback failed", failed=True)
