"""Cost terms of walks, one a file. A term is a function (rollout, xp) -> cost (K,); its weight is an input of the plan graph."""

from __future__ import annotations

from taustack.controllers.walk_costs.disagreement import disagreement
from taustack.controllers.walk_costs.fall import fall
from taustack.controllers.walk_costs.landing import landing
from taustack.controllers.walk_costs.posture import posture
from taustack.controllers.walk_costs.smoothness import smoothness
from taustack.controllers.walk_costs.velocity import velocity
from taustack.walk_rollout import WalkCostTerm

WALK_COST_TERMS: dict[str, WalkCostTerm] = {
    "velocity": velocity,
    "fall": fall,
    "posture": posture,
    "landing": landing,
    "smoothness": smoothness,
    "disagreement": disagreement,
}
"""All terms in the order of the plan graph's `weights` input."""
