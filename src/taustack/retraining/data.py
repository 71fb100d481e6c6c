"""What a robot's logs hold for its model: runs from bags and datasets, with a card that says what was cut and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from taustack.config import RobotConfig
from taustack.errors import BadInput
from taustack.models.dataset import Run, read_dataset
from taustack.models.delay import DelayEstimate, identify_delay
from taustack.models.from_bags import Harvest, enough, runs_of

LEAST_S = 10.0  # of log, all in all
STILL = 0.02  # [rad/s or m/s] rms of the reference below which a joint teaches nothing


@dataclass
class LoggedData:
    """Runs as logged (not yet aligned), the delay found in them, and where they come from."""

    runs: list[Run]
    delay: DelayEstimate
    harvest: Harvest
    sources: list[str] = field(default_factory=list)

    def card(self, robot: RobotConfig) -> dict[str, object]:
        """For the report and the bundle's manifest."""
        n = robot.n
        low, high = np.min([run.x.min(axis=0) for run in self.runs], axis=0), np.max([run.x.max(axis=0) for run in self.runs], axis=0)
        square = np.sum([(run.x**2).sum(axis=0) for run in self.runs], axis=0) / sum(len(run.x) for run in self.runs)
        return {
            "sources": self.sources, "minutes": round(self.harvest.minutes, 3), "runs": len(self.runs), "delay_steps": list(self.delay.per_joint),
            "coverage": {
                name: {"q": [round(float(low[j]), 3), round(float(high[j]), 3)], "dq_rms": round(float(np.sqrt(square[n + j])), 4)}
                for j, name in enumerate(robot.joint_names)
            },
            "cut_s": {why: round(seconds, 2) for why, seconds in self.harvest.cut_s.items()}, "quarantined": dict(self.harvest.quarantined),
            "notes": self.harvest.notes[:50],
        }  # fmt: skip


def gather(sources: list[Path], robot: RobotConfig, most_minutes: float | None = None) -> LoggedData:
    """Runs of bags and of dataset folders, of the newest `most_minutes` if given.

    Raises:
        BadInput: nothing usable, too little of it, or a joint that hardly moved; names the source, the minutes, the joint.
    """
    harvest, runs, datasets = Harvest(), [], [source for source in sources if (source / "dataset.yaml").is_file()]
    dt = robot.rates.control_dt
    for folder in datasets:
        card, found = read_dataset(folder)
        if card.robot != robot.name or card.joint_names != robot.joint_names or abs(card.dt - dt) > 1e-9:
            raise BadInput(folder / "dataset.yaml", "robot", f"{card.robot}, {list(card.joint_names)}, dt {card.dt}", f"{robot.name}, its joints, dt {dt}")
        runs += found
        harvest.minutes += sum(len(run.u) for run in found) * dt / 60
    runs += list(runs_of([s for s in sources if s not in datasets], robot.name, robot.joint_names, dt, harvest))
    runs = enough(runs, dt, harvest, most_minutes, LEAST_S, "motion")
    speed = np.sqrt(np.mean(np.concatenate([run.u for run in runs]) ** 2, axis=0))
    if speed.min() < STILL:
        joint = robot.joint_names[int(speed.argmin())]
        raise BadInput("--from", f"excitation of {joint}", f"{speed.min():.4f} rad/s (rms of its reference)", f"at least {STILL:g}: move that joint too")
    return LoggedData(runs=runs, delay=identify_delay(runs, robot.joint_names), harvest=harvest, sources=[str(source) for source in sources])
