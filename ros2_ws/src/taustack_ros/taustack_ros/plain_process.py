"""What a process without rclpy does: ROS arguments, signals, real-time privileges, one line for bad input, exit codes."""

from __future__ import annotations

import faulthandler
import itertools
import os
import sys
from collections.abc import Callable

import yaml

from taustack.cores import keep_awake, pin_to_core, stays_awake
from taustack.errors import BadInput, TaustackError
from taustack.realtime import ask_for_real_time, lock_memory, real_time_wanted
from taustack.shared_memory import session_folder
from taustack.stop_flag import StopFlag, stop_on_signals


def ros_parameters(arguments: list[str]) -> dict[str, str]:
    """Values of `-p name:=value` in a ROS command line; remaps are for nodes and are passed over."""
    found = {}
    for flag, text in itertools.pairwise(arguments):
        if flag in ("-p", "--param"):
            name, separator, value = text.partition(":=")
            if not separator:
                raise BadInput("argument", "-p", text, "NAME:=VALUE")
            found[name] = str(yaml.safe_load(value) if value else "")
    return found


def session_name() -> str:
    """TAUSTACK_SESSION, or one a ROS domain."""
    return os.environ.get("TAUSTACK_SESSION") or f"domain{os.environ.get('ROS_DOMAIN_ID', '0')}"


def core_of(parameters: dict[str, str]) -> int | None:
    """The parameter `core`; None if it is empty.

    Raises:
        BadInput: no number of a core.
    """
    text = parameters.get("core", "")
    if text and not text.isdigit():
        raise BadInput("parameter", "core", text, "the number of a core, or nothing")
    return int(text) if text else None


def ask_for_privileges(priority: int, core: int | None, awake: bool) -> None:
    """Ask, and say what could not be had and what that costs."""
    if not real_time_wanted():
        return
    for refused in (ask_for_real_time(priority), lock_memory(), pin_to_core(core), keep_awake() if awake else None):
        if refused:
            print(f"warning: {refused}", file=sys.stderr, flush=True)


def run_plain(body: Callable[[dict[str, str], StopFlag], None], priority: int) -> int:
    """Ask for the privileges, run the body until SIGINT or SIGTERM; returns the exit code."""
    faulthandler.enable()
    stop = stop_on_signals()
    try:
        session_folder(session_name())
        parameters = ros_parameters(sys.argv[1:])
        ask_for_privileges(priority, core_of(parameters), stays_awake(parameters.get("awake") or "never"))
        body(parameters, stop)
    except TaustackError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 1 if stop.failed else 0


def write_or_warn(write: Callable[[], None]) -> None:
    """Statistics are not worth a crash: a disk that is full, or slow to be there, costs them and says so."""
    try:
        write()
    except OSError as error:
        print(f"warning: statistics are lost: {error}", file=sys.stderr, flush=True)
