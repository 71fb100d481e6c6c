"""A pytest plugin: a failed test of the real graph on a machine that stalled is tried again, and is inconclusive in the end.

Inconclusive tests are reported as skipped, with what the machine did; what failed while the cores were there has failed.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import pytest
from _pytest.runner import runtestprotocol

from taustack.machine import STEAL_LIMIT
from taustack.realtime import steal_share

from .stalls import STALL_S, Witness

ATTEMPTS = 3
QUIET_S, PATIENCE_S = 2.0, 60.0
BUDGET_S = 900.0  # for attempts that said nothing and the waits after them, in one session: after that nothing is tried again


@dataclass
class Inconclusive:
    """Runs the tests marked `ros`, each up to ATTEMPTS times while the machine is the reason; none begins after `until` (Unix time [s])."""

    witness: Witness = field(default_factory=Witness)
    until: float = math.inf
    lost_s: float = 0.0

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """In place of pytest's own for these tests."""
        if item.get_closest_marker("ros") is None:
            return None
        if time.time() > self.until:
            item.add_marker(pytest.mark.skip(reason="inconclusive: no time left on a machine this slow (--until), `make test` runs it"))
            return None
        self.witness.start()
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item, nextitem):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """No watcher outlives the session."""
        self.witness.stop()

    def _reports(self, item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
        for attempt in range(ATTEMPTS):
            began, before = time.monotonic(), steal_share()
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
            time.sleep(0.1)  # for what the watchers have to say
            ended = time.monotonic()
            stalls, stolen = self.witness.stalls(began, ended), steal_share(before[:2])[2]
            failed = [report for report in reports if report.failed]
            if not failed or not (stalls or stolen > STEAL_LIMIT):
                return reports
            self.lost_s += ended - began
            item.session._setupstate.teardown_exact(None)  # what comes next starts from nothing, the graph of a module too
            if attempt + 1 == ATTEMPTS or self.lost_s > BUDGET_S or time.time() > self.until:
                break
            item._initrequest()  # type: ignore[attr-defined]
            self.witness.wait_for_rest(QUIET_S, PATIENCE_S)
            self.lost_s += time.monotonic() - ended
        taken = f"cores taken away {len(stalls)} times for over {STALL_S * 1e3:.0f} ms, longest {max(stalls, default=0.0) * 1e3:.0f} ms"
        why = f"inconclusive: {taken}, {100 * stolen:.1f} % of their time stolen, attempt {attempt + 1}"
        for report in failed:
            report.sections.append(("why it failed", report.longreprtext))
            report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"{why}; it failed with: {_last_line(report)}")
        return reports


def _last_line(report: pytest.TestReport) -> str:
    """The error in one line."""
    lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return lines[0][1:].strip() if lines else report.longreprtext.strip()[-200:]
