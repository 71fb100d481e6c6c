"""Degrading in steps when plans come late or fail, and coming back by rule: a pure function with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Outcome = Literal["good", "late", "failed"]
STEPS = ("mppi", "mppi with fewer samples", "fallback")
WEIGHT: dict[Outcome, int] = {"good": 0, "late": 1, "failed": 2}
DOWN_AT = 4  # weight of bad outcomes without a long good run between them
FORGIVE_AFTER = 20  # good plans in a row that forgive what was bad before
UP_AFTER = 120  # good plans in a row until the next better step is tried
MOST_PATIENT = 16  # times UP_AFTER, after better steps failed again and again


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Where on the ladder a planner is. `patience` doubles each time a better step, once tried, failed."""

    step: int = 0
    bad: int = 0
    good: int = 0
    patience: int = 1
    climbed: bool = False

    @property
    def name(self) -> str:
        """Which planner makes the plans."""
        return STEPS[self.step]

    def after(self, outcome: Outcome) -> Ladder:
        """The ladder after one more plan."""
        if outcome == "good":
            return self._after_good()
        bad = self.bad + WEIGHT[outcome]
        if bad < DOWN_AT or self.step == len(STEPS) - 1:
            return replace(self, bad=min(bad, DOWN_AT), good=0)
        patience = min(2 * self.patience, MOST_PATIENT) if self.climbed else self.patience
        return Ladder(step=self.step + 1, patience=patience)

    def _after_good(self) -> Ladder:
        good = self.good + 1
        if self.step and good >= UP_AFTER * self.patience:
            return Ladder(step=self.step - 1, patience=self.patience, climbed=True)
        if good >= UP_AFTER * self.patience:
            return Ladder()
        return replace(self, good=good, bad=0 if good >= FORGIVE_AFTER else self.bad)
