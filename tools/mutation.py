"""Mutation test of the safety filter and the state table: `python tools/mutation.py`. Prints how many mutants the tests kill.

mutmut changes the code of the filter, one place at a time, in a copy of the project whose rooms are real folders (it does
not follow links) and in which what it changes is not compiled. It leaves data alone, so each entry of the table of transitions
is changed to every other state here.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
COPY = PROJECT / "build" / "mutation"
ROOMS = ("controllers", "models", "sim", "robots", "launch")
MUTATED = ("safety", "filter_step", "reference", "load", "states")
LEAST = 0.95

CONFIG = f"""[mutmut]
source_paths=
{chr(10).join(f"    src/taustack/controllers/{name}.py" for name in MUTATED)}
also_copy=
    src
    tests
    robots
    pyproject.toml
pytest_add_cli_args_test_selection=
    tests/controllers/test_safety.py
    tests/controllers/test_safety_rules.py
    tests/controllers/test_safety_memo.py
    tests/controllers/test_reference.py
    tests/controllers/test_load.py
    tests/controllers/test_states.py
pytest_add_cli_args=
    -q
    -x
    -m
    not slow
    -p
    no:cacheprovider
"""


def make_copy() -> None:
    """The project with its rooms as real folders inside the package."""
    shutil.rmtree(COPY, ignore_errors=True)
    (COPY / "src").mkdir(parents=True)
    shutil.copytree(PROJECT / "src" / "taustack", COPY / "src" / "taustack", symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    for name in MUTATED:  # mutmut leaves decorated functions alone, and would have each mutant compiled
        path = COPY / "src/taustack/controllers" / f"{name}.py"
        path.write_text(re.sub(r"^@compiled\(.*\)\n", "", path.read_text(), flags=re.MULTILINE))
    for name in ("tests", "robots"):
        shutil.copytree(PROJECT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", COPY)
    (COPY / "setup.cfg").write_text(CONFIG)


def mutate_filter() -> tuple[int, int]:
    """(killed, all) mutants of mutmut."""
    env = os.environ | {"PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
    subprocess.run([str(Path(sys.executable).with_name("mutmut")), "run"], cwd=COPY, env=env, check=False)
    out = subprocess.run([str(Path(sys.executable).with_name("mutmut")), "results", "--all", "True"], cwd=COPY, env=env, capture_output=True, text=True).stdout
    states = re.findall(r": ([a-z ]+)$", out, re.MULTILINE)
    for line in out.splitlines():
        if line.strip() and "killed" not in line and "timeout" not in line:
            print("survived:", line.strip())
    killed = sum(state in ("killed", "timeout", "caught by type check") for state in states)
    return killed, len(states)


def mutate_table() -> tuple[int, int]:
    """(killed, all) changes of one entry of the table of transitions, judged by the table that the test has by hand."""
    text = (PROJECT / "controllers/states.py").read_text()
    by_hand = runpy.run_path(str(PROJECT / "tests/controllers/test_states.py"))["expected"]()
    states = {state for state, _ in by_hand}
    mutants = []
    for entry in re.findall(r'    \("\w+", "\w+"\): "\w+",\n', text):
        changed = {re.sub(r': "\w+",', f': "{state}",', entry) for state in states} - {entry}
        mutants += [text.replace(entry, change) for change in ("", *sorted(changed))]

    def survives(mutant: str) -> bool:
        space: dict[str, Any] = {"__name__": "mutant"}
        exec(compile(mutant, "mutant", "exec"), space)
        return all(space["next_state"](*pair) == after for pair, after in by_hand.items())

    assert survives(text), "the table and its test differ"
    return len(mutants) - sum(survives(mutant) for mutant in mutants), len(mutants)


def main() -> int:
    make_copy()
    table, filters = mutate_table(), mutate_filter()
    for name, (killed, total) in (("table of transitions", table), ("filter and its parts", filters)):
        print(f"{name}: {killed} of {total} mutants killed ({100 * killed / max(1, total):.1f} %)")
    killed, total = table[0] + filters[0], table[1] + filters[1]
    print(f"all: {100 * killed / max(1, total):.1f} % (at least {100 * LEAST:.0f} %)")
    return 0 if killed >= LEAST * total else 1


if __name__ == "__main__":
    sys.exit(main())
