"""What a law or a planner of a walk sees at a moment: estimate, joints, and where the gait is. Nothing of it is the simulator's truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import rotation
from taustack.controllers.base_state import BaseEstimate
from taustack.controllers.gait_state import GaitState

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class WalkState:
    """t [s]; the base by the estimator; q, dq (n,) [rad, rad/s]; the gait's clock and strides, and whether it walks."""

    t: float
    base: BaseEstimate
    q: FloatArray
    dq: FloatArray
    gait: GaitState

    def x(self) -> FloatArray:
        """The state (nx,) of a model: see taustack.legged_layout."""
        phase = 2 * np.pi * self.gait.phase
        up = rotation(self.base.quaternion)[2]
        forward, sideways, _ = self.base.local_velocity
        velocity = np.array([forward, sideways, self.base.velocity[2]])
        strides = np.concatenate([self.gait.velocity, self.gait.landing])
        return np.concatenate([up, velocity, self.base.turn_rate, self.q, self.dq, strides, [np.sin(phase), np.cos(phase)]])
