"""What the logs of a robot on legs hold for its model: walks from bags and datasets, with a card that says what was cut and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from taustack.errors import BadInput
from taustack.legged import LeggedConfig
from taustack.legged_layout import ACTIONS
from taustack.models.from_bags import enough
from taustack.models.walk_dataset import WalkRun
from taustack.retraining.walk_bags import WalkHarvest, walks_of
from taustack.retraining.walk_pipeline import read_own_walks

LEAST_S = 20.0  # of walking, all in all
STILL = 0.05
"""Share of the largest action, as RMS over the log, under which a log says nothing of that part."""


@dataclass
class LoggedWalks:
    """Walks as logged, and where they come from."""

    runs: list[WalkRun]
    harvest: WalkHarvest
    sources: list[str]
    still: list[str] = field(default_factory=list)
    """Parts of the action that were hardly used: the model keeps what it knew of them, and nobody looks whether that is still true."""

    def card(self) -> dict[str, object]:
        """For the report and the bundle's manifest."""
        u = np.concatenate([run.u for run in self.runs])
        return {
            "sources": self.sources, "minutes": round(self.harvest.minutes, 3), "runs": len(self.runs), "falls": self.harvest.falls,
            "coverage": {name: {"most": round(float(np.abs(u[:, i]).max()), 3), "rms": round(float(np.sqrt(np.mean(u[:, i] ** 2))), 4)}
                         for i, name in enumerate(ACTIONS)},
            "cut_s": {why: round(seconds, 2) for why, seconds in self.harvest.cut_s.items()}, "quarantined": dict(self.harvest.quarantined),
            "notes": self.harvest.notes[:50],
        }  # fmt: skip


def gather_walks(sources: list[Path], robot: LeggedConfig, most_minutes: float | None = None) -> LoggedWalks:
    """Walks of bags and of dataset folders, of the newest `most_minutes` if given.

    Raises:
        BadInput: nothing usable, too little of it, or a robot that only trod on the spot; names the source, the minutes, the part.
    """
    harvest, runs, dt = WalkHarvest(), list[WalkRun](), 1.0 / robot.rates.plan_hz
    datasets = [source for source in sources if (source / "dataset.yaml").is_file()]
    for folder in datasets:
        card, found = read_own_walks(folder, robot)
        runs += found
        harvest.minutes += sum(len(run.u) for run in found) * dt / 60
        harvest.falls += card.falls
    runs += list(walks_of([s for s in sources if s not in datasets], robot, harvest))
    runs = enough(runs, dt, harvest, most_minutes, LEAST_S, "walking")
    most = np.array([*robot.gait.velocity, robot.gait.landing, robot.gait.landing])
    used = np.sqrt(np.mean(np.concatenate([run.u for run in runs]) ** 2, axis=0)) / np.maximum(most, 1e-9)
    still = [name for name, share in zip(ACTIONS, used, strict=True) if share < STILL]
    if len(still) == len(ACTIONS):
        raise BadInput("--from", "strides", "none", "a log in which the robot walks somewhere")
    return LoggedWalks(runs=runs, harvest=harvest, sources=[str(source) for source in sources], still=still)
