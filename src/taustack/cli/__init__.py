"""The `taustack` command. Exit codes: 0 done, 1 failed, 2 wrong use or bad input, 3 the gate said no."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from taustack import __version__
from taustack.errors import TaustackError


def parser() -> argparse.ArgumentParser:
    """The whole command line. Heavy imports happen in the commands, so that `--help` is quick."""
    from taustack.cli import bag, bench, doctor, learn, models, retrain, run, simulate, up

    root = argparse.ArgumentParser(prog="taustack", description="A real-time control stack for robots that learn their own dynamics.")
    root.add_argument("--version", action="version", version=f"taustack {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (run, up, simulate, bag, learn, retrain, models, bench, doctor):
        module.add(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    # One thread a process: the pools and the sharded sessions do the parallel work.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # MuJoCo picks its renderer when it is first imported.
    os.environ.setdefault("MUJOCO_GL", "egl")
    root = parser()
    options, left = root.parse_known_args(arguments)
    if options.command == "up" and all(":=" in text for text in left):  # argparse takes none after an option
        options.arguments += left
    elif left:
        root.error(f"unrecognized arguments: {' '.join(left)}")
    try:
        return int(options.function(options))
    except TaustackError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:  # no space, no permission, a disk that is gone
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
