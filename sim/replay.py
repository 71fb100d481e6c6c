"""The same plan step over logged plans: the same bits again, and why the planner did what it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.bags.reader import Bag, decoded
from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.mppi import MPPI, POSTURE
from taustack.controllers.plan import Basis
from taustack.errors import BadInput, PlanFailed
from taustack.kinematics import KinematicChain
from taustack.manifest import MANIFEST, sha256_of
from taustack.obstacles import COLUMNS

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LoggedPlan:
    """A plan as logged: when its first action begins [s], actions (H, nu), states (H+1, nx), cost a term, and what it was computed from."""

    seq: int
    t: float
    dt: float
    actions: FloatArray
    states: FloatArray
    cost: dict[str, float]
    bundle_sha256: str
    basis: Basis

    @property
    def weighted(self) -> dict[str, float]:
        """What each term added to the cost."""
        asked = self.basis.goal.size > 3
        return {name: value * float(weight) for (name, value), weight in zip(self.cost.items(), self.basis.weights, strict=True) if asked or name != POSTURE}


def logged_plans(bag: Bag) -> Iterator[LoggedPlan]:
    """Plans that can be computed again; those of the fallback and damaged ones are passed over."""
    for message in bag.messages({"plan"}):
        content = decoded(message)
        plan = _plan(content) if content is not None else None
        if plan is not None:
            yield plan


def _plan(content: Any) -> LoggedPlan | None:
    h, n = int(content.horizon), len(content.name)
    sizes = (len(content.actions), len(content.mean), len(content.states), len(content.weight), len(content.cost))
    fits = sizes == (h * n, h * n, (h + 1) * 4 * n, len(content.cost_name), len(content.cost_name)) and len(content.goal) in (3, 3 + n)
    if not content.shards or len(content.obstacles) % COLUMNS or not fits:
        return None
    basis = Basis(
        goal=np.asarray(content.goal), tau=float(content.tau), trust=int(content.trust), mean=np.asarray(content.mean, dtype=np.float32).reshape(h, n),
        weights=np.asarray(content.weight, dtype=np.float32), temperature=float(content.temperature), noise_seed=int(content.noise_seed),
        shards=int(content.shards), obstacles=np.asarray(content.obstacles, dtype=np.float32).reshape(-1, COLUMNS),
    )  # fmt: skip
    return LoggedPlan(
        seq=int(content.seq), t=content.effective.sec + 1e-9 * content.effective.nanosec, dt=float(content.dt),
        actions=np.asarray(content.actions).reshape(h, n), states=np.asarray(content.states).reshape(h + 1, 4 * n),
        cost=dict(zip(content.cost_name, np.asarray(content.cost).tolist(), strict=True)), bundle_sha256=str(content.bundle_sha256), basis=basis,
    )  # fmt: skip


def bundles_of(plans: list[LoggedPlan], robot: RobotConfig, folders: list[Path]) -> dict[str, Bundle]:
    """The bundles that made the plans, by hash.

    Raises:
        BadInput: one of them lies in none of the folders.
    """
    known = {sha256_of(folder / MANIFEST): folder for folder in folders if (folder / MANIFEST).is_file()}
    wanted = {plan.bundle_sha256 for plan in plans}
    for sha256 in wanted - set(known):
        raise BadInput("--bundle", "", f"none of {', '.join(map(str, folders))} is {sha256[:12]}, which made plans of this bag", "the folder of that bundle")
    return {sha256: load_bundle(known[sha256], robot) for sha256 in wanted}


class Replay:
    """Computes logged plans again.

    Args:
        robot, task: as in the run.
        bundles: by hash.
    """

    def __init__(self, robot: RobotConfig, task: TaskConfig, bundles: dict[str, Bundle]) -> None:
        self._planners = {sha256: MPPI(bundle, robot, task, np.random.default_rng(0)) for sha256, bundle in bundles.items()}

    def same(self, plan: LoggedPlan) -> bool:
        """True if the plan step gives the logged actions, states and costs, bit for bit."""
        planner = self._planners[plan.bundle_sha256]
        if plan.basis.mean.shape != (planner.horizon, planner.robot.n) or tuple(plan.cost) != planner.terms:
            return False
        try:
            done = planner.compute(plan.states[0], plan.basis, plan.seq)
        except PlanFailed:
            return False
        return bool(np.array_equal(done.actions, plan.actions) and np.array_equal(done.states, plan.states) and done.cost == plan.cost)


def draw_plan(plan: LoggedPlan, rows: tuple[FloatArray, FloatArray], chain: KinematicChain, path: Path) -> None:
    """Why a plan was made: what each term cost, and the predicted path beside the one that came of it. rows: t (R,) and q (R, n) of the tracker."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    t, q = rows
    n = q.shape[1]
    at = plan.dt * np.arange(len(plan.states))
    span = (t >= plan.t) & (t <= plan.t + at[-1])
    predicted, real = chain.position(plan.states[:, :n]), chain.position(q[span])
    goal = plan.basis.goal[:3]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.2), constrained_layout=True)
    names, values = list(plan.weighted), list(plan.weighted.values())
    left.barh(names, values, color="tab:blue")
    left.invert_yaxis()
    left.set(xlabel="weight times cost, expected over the samples", title=f"plan {plan.seq}: cost by term")
    for axis, label in enumerate("xyz"):
        (line,) = middle.plot(at, predicted[:, axis], linestyle="--", linewidth=1)
        middle.plot(t[span] - plan.t, real[:, axis], color=line.get_color(), label=label)
        middle.axhline(goal[axis], color=line.get_color(), linewidth=0.5, linestyle=":")
    middle.set(xlabel="time from its first action [s]", ylabel="end effector [m]", title="dashed: predicted, dotted: goal")
    middle.legend(fontsize=8)
    right.plot(at, 1e3 * np.linalg.norm(predicted - goal, axis=1), linestyle="--", label="predicted")
    right.plot(t[span] - plan.t, 1e3 * np.linalg.norm(real - goal, axis=1), label="what came of it and of the plans after it")
    right.set(xlabel="time from its first action [s]", ylabel="distance to the goal [mm]")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
