"""Torque that the robot's impedance law must give: keeps what the model foresees clear of the motors' limits."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

FREE = 0.7  # share of the torque limit that costs nothing: what a payload asks for at rest must not keep the arm from its goal


def load(rollout: Rollout, xp: Any) -> Any:
    """Sum over joints of the squared excess over the free share (1 at the torque limit), mean over the horizon."""
    excess = xp.clip((xp.abs(rollout.load) - FREE) / (1.0 - FREE), 0.0, None)
    return (excess * excess).sum(-1).mean(0)
