"""Cost terms, one a file. A term is a function (rollout, xp) -> cost (K,); its weight is an input of the plan graph."""

from __future__ import annotations

from taustack.controllers.costs.clearance import clearance
from taustack.controllers.costs.disagreement import disagreement
from taustack.controllers.costs.goal_position import goal_position
from taustack.controllers.costs.joint_limits import joint_limits
from taustack.controllers.costs.load import load
from taustack.controllers.costs.obstacles import obstacles
from taustack.controllers.costs.posture import posture
from taustack.controllers.costs.smoothness import smoothness
from taustack.controllers.costs.terminal import terminal
from taustack.controllers.costs.velocity import velocity
from taustack.rollout import CostTerm

COST_TERMS: dict[str, CostTerm] = {
    "goal_position": goal_position,
    "terminal": terminal,
    "joint_limits": joint_limits,
    "clearance": clearance,
    "obstacles": obstacles,
    "velocity": velocity,
    "load": load,
    "posture": posture,
    "smoothness": smoothness,
    "disagreement": disagreement,
}
"""All terms in the order of the plan graph's `weights` input."""
