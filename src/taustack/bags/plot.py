"""A bag as a picture: joints and their references, what the tracker did, and how far the plans' predictions were off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taustack.bags.reader import Bag, decoded
from taustack.errors import BadInput
from taustack.layout import STATES

FloatArray = NDArray[np.float64]
MOST_ROWS = 60_000  # of the tracker; longer bags are drawn with every n-th
STEPS = (1, 5, -1)  # of a plan's predicted states, the last one too


def plot(bag: Bag, path: Path) -> None:
    """Write the picture.

    Raises:
        BadInput: the bag has no rows of the tracker.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    t, q, q_ref, state, names = tracker_rows(bag)
    plans = _prediction_errors(bag, t, q)
    every = max(1, len(t) // MOST_ROWS)
    start = t[0]
    figure, axes = plt.subplots(4, 1, figsize=(12, 11), sharex=True, constrained_layout=True, height_ratios=[3, 2, 1, 2])
    for j, name in enumerate(names):
        (line,) = axes[0].plot(t[::every] - start, q[::every, j], label=name, linewidth=1)
        axes[0].plot(t[::every] - start, q_ref[::every, j], color=line.get_color(), linewidth=0.6, linestyle="--")
        axes[1].plot(t[::every] - start, 1e3 * (q[::every, j] - q_ref[::every, j]), linewidth=0.8)
    axes[0].set(ylabel="joints, references dashed [rad or m]")
    axes[0].legend(fontsize=7, ncols=4)
    axes[1].set(ylabel="tracking error [mrad or mm]")
    axes[2].step(t[::every] - start, state[::every], where="post", linewidth=1)
    axes[2].set_yticks(range(len(STATES)), STATES)
    for label, (at, error) in plans.items():
        axes[3].plot(at - start, 1e3 * error, marker=".", markersize=2, linewidth=0.5, label=label)
    axes[3].set(ylabel="prediction error, largest joint [mrad or mm]", xlabel="time [s]")
    if plans:
        axes[3].set_yscale("log")
        axes[3].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def tracker_rows(bag: Bag) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, list[str]]:
    """t (R,), q and q_ref (R, n), state (R,) and joint names of all rows of the tracker.

    Raises:
        BadInput: the bag has none.
    """
    tracks = [content for message in bag.messages({"track"}) if (content := decoded(message)) is not None and len(content.t)]
    tracks = [content for content in tracks if list(content.name) == list(tracks[0].name) and len(content.q) == len(content.t) * len(content.name)]
    if not tracks:
        raise BadInput(bag.path, "track", "; ".join(bag.problems) or "no rows", "rows of the tracker")
    n = len(tracks[0].name)
    t = np.concatenate([np.asarray(content.t) for content in tracks])
    q, q_ref = (np.concatenate([np.asarray(getattr(content, name), dtype=np.float64).reshape(-1, n) for content in tracks]) for name in ("q", "q_ref"))
    state = np.concatenate([np.asarray(content.state, dtype=np.float64) for content in tracks])
    return t, q, q_ref, state, list(tracks[0].name)


def _prediction_errors(bag: Bag, t: FloatArray, q: FloatArray) -> dict[str, tuple[FloatArray, FloatArray]]:
    """For some steps of every plan: when it was predicted for, and the largest error of a joint there."""
    found: dict[str, list[tuple[float, float]]] = {}
    n = q.shape[1]
    for message in bag.messages({"plan"}):
        plan = decoded(message)
        if plan is None or len(plan.states) != (plan.horizon + 1) * 4 * n:
            continue
        states = np.asarray(plan.states).reshape(plan.horizon + 1, 4 * n)[:, :n]
        begins = plan.effective.sec + 1e-9 * plan.effective.nanosec
        for step in STEPS:
            k = min(step, int(plan.horizon)) if step > 0 else int(plan.horizon)
            at = begins + k * plan.dt
            i = int(np.searchsorted(t, at))
            if 0 < i < len(t) and t[i] - t[i - 1] < 0.05:
                found.setdefault(f"{k} step(s) ahead", []).append((at, float(np.abs(states[k] - q[i]).max())))
    return {label: (np.array([at for at, _ in rows]), np.array([error for _, error in rows])) for label, rows in found.items()}
