"""A planar arm of three links with torques at its joints, in MuJoCo: small enough for a comparison in minutes."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from taustack.tdm_layout import TDMLayout

FloatArray = NDArray[np.float64]
LINKS = (0.25, 0.2, 0.15)  # lengths [m]
DT, SUBSTEPS = 0.05, 5
TORQUE = (1.0, 0.5, 0.2)  # limits [N m]
MODEL = """
<mujoco>
  <compiler angle="radian"/>
  <option gravity="0 0 0" integrator="implicitfast" timestep="{dt}"/>
  <default>
    <joint axis="0 0 1" damping="0.15" armature="0.01" limited="true" range="-2.6 2.6"/>
    <geom type="capsule" size="0.02" density="800" contype="0" conaffinity="0"/>
  </default>
  <worldbody>
    <body><joint name="j1"/><geom fromto="0 0 0 {a} 0 0"/>
      <body pos="{a} 0 0"><joint name="j2"/><geom fromto="0 0 0 {b} 0 0"/>
        <body pos="{b} 0 0"><joint name="j3"/><geom fromto="0 0 0 {c} 0 0"/><site name="tip" pos="{c} 0 0"/></body>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="j1" ctrlrange="-{t1} {t1}"/><motor joint="j2" ctrlrange="-{t2} {t2}"/><motor joint="j3" ctrlrange="-{t3} {t3}"/></actuator>
</mujoco>
"""


class PlanarReacher:
    """State: sine and cosine of the joints, their velocities, the tip; goal: the tip (x, y) [m]; action: torques, 20 Hz."""

    def __init__(self, tau_max: int = 15, steps: int = 50) -> None:
        self.name = "planar_reacher"
        self.steps = steps
        joints = ("j1", "j2", "j3")
        state = (*(f"sin {j}" for j in joints), *(f"cos {j}" for j in joints), *(f"dq {j}" for j in joints), "tip x", "tip y")
        self.layout = TDMLayout(state=state, goal=state[-2:], action=joints, action_limit=TORQUE, dt=DT, tau_max=tau_max)
        a, b, c = LINKS
        t1, t2, t3 = TORQUE
        self._model = mujoco.MjModel.from_xml_string(MODEL.format(dt=DT / SUBSTEPS, a=a, b=b, c=c, t1=t1, t2=t2, t3=t3))
        self._data = mujoco.MjData(self._model)

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Random joints at rest; the goal is where the tip is for other random joints."""
        goal = self._tip(rng.uniform(-2.5, 2.5, 3))
        self._tip(rng.uniform(-2.5, 2.5, 3))
        return self._state(), goal

    def step(self, a: FloatArray) -> FloatArray:
        """Torques a (3,) for 0.05 s."""
        self._data.ctrl[:] = a
        mujoco.mj_step(self._model, self._data, SUBSTEPS)
        mujoco.mj_forward(self._model, self._data)
        return self._state()

    def _tip(self, q: FloatArray) -> FloatArray:
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = q
        mujoco.mj_forward(self._model, self._data)
        return np.array(self._data.site("tip").xpos[:2])

    def _state(self) -> FloatArray:
        q = self._data.qpos
        return np.concatenate([np.sin(q), np.cos(q), self._data.qvel, self._data.site("tip").xpos[:2]])
