"""What a page shows: a robot's parts, its plans and what was tried for them; and that a port is not taken from somebody else."""

from __future__ import annotations

import socket

import mujoco
import numpy as np
import pytest

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.attitude import yaw_of
from taustack.controllers.bundle import Bundle
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.mppi import MPPI
from taustack.controllers.walk_bundle import load_walk_bundle
from taustack.controllers.walk_mppi import WalkMPPI
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.layout import Measured
from taustack.legged import LeggedConfig, load_legged
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_rig import LeggedRig
from taustack.view.eyes import SHOWN, ArmEyes, LegsEyes
from taustack.view.looks import Look, Status
from taustack.view.page import Page, require_free
from taustack.view.parts import parts_of
from taustack.walk_task import load_walk_task


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


class Asked:
    """`Commands` that notes what it is asked."""

    def __init__(self) -> None:
        self.what: list[str] = []

    def press_estop(self) -> None:
        self.what.append("press")

    def reset_estop(self) -> None:
        self.what.append("reset")

    def go_to(self, point: np.ndarray) -> None:
        self.what.append(f"go {point.tolist()}")

    def cancel(self) -> None:
        self.what.append("cancel")


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_parts_are_where_mujoco_has_them() -> None:
    """Every kind of geom that a robot is made of, turned and moved: the corners of its box, as MuJoCo has it by its own vertices."""
    xml = """<mujoco><worldbody><geom type="plane" size="1 1 1"/><body name="b" pos="1 2 3" euler="10 20 30"><freejoint/>
      <geom type="box" size="0.1 0.2 0.3" pos="0.1 0 0" euler="0 0 40"/><geom type="capsule" size="0.05" fromto="0 0 0 0.3 0 0.4"/>
      <geom type="cylinder" size="0.05 0.2" pos="0 -0.3 0"/><geom type="sphere" size="0.1" pos="0 0 -0.5"/>
      <geom type="ellipsoid" size="0.1 0.05 0.02" pos="0 0.4 0"/><geom type="sphere" size="0.9" group="3"/></body></worldbody></mujoco>"""
    (part,) = parts_of(mujoco.MjModel.from_xml_string(xml))
    np.testing.assert_allclose(part.mesh.bounds[0], [-0.1052, -0.35, -0.6], atol=2e-3)
    np.testing.assert_allclose(part.mesh.bounds[1], [0.35, 0.45, 0.45], atol=2e-2)
    assert part.body == 1


@pytest.mark.parametrize("name", ["arm", "legs"])
def test_every_body_of_a_shipped_robot_is_seen(name: str, robot: RobotConfig, task: TaskConfig, go2: LeggedConfig) -> None:
    model = ArmEyes(robot, task).model if name == "arm" else LegsEyes(go2, load_walk_task(go2, "goal")).model
    seen = {part.body for part in parts_of(model)}
    assert len(seen) >= 8
    assert all(np.isfinite(part.mesh.vertices).all() for part in parts_of(model))


def test_an_arms_plan_is_drawn_with_what_was_tried_for_it(robot: RobotConfig, task: TaskConfig, bundle: Bundle, at_home: object, chain: KinematicChain) -> None:
    state = at_home()  # type: ignore[operator]
    plan = MPPI(bundle, robot, task, np.random.default_rng(0)).plan(Measured(state=state, seq=1), chain.position(robot.home + 0.2))
    eyes = ArmEyes(robot, task)
    assert eyes.planned(plan).samples.size == 0  # whose samples these are is not known yet
    eyes.use(bundle)
    drawn = eyes.planned(plan)
    np.testing.assert_allclose(drawn.path, chain.position(plan.states[:, : robot.n]))
    assert drawn.samples.shape == (SHOWN, len(plan.states), 3)
    np.testing.assert_allclose(drawn.samples[:, 0], np.tile(drawn.path[0], (SHOWN, 1)), atol=1e-6)
    assert drawn.samples[:, -1].std(0).max() > 0.005
    assert drawn.cost == pytest.approx({name: value * task.cost.get(name, 0.0) for name, value in plan.cost.items()})
    other = eyes.planned(plan._replace(bundle_sha256="0" * 64))
    assert other.samples.size == 0
    np.testing.assert_array_equal(eyes.qpos(state)[:7], state.q)


def test_a_walks_plan_leads_on_from_where_the_robot_is(go2: LeggedConfig) -> None:
    bundle, task = load_walk_bundle(go2.folder / "bundle", go2), load_walk_task(go2, "goal")
    rig = LeggedRig(LeggedPlant(go2))
    rig.reset(yaw=0.7)
    for _ in range(500):
        state = rig.tick(GaitCommand(velocity=np.array([0.5, 0.0, 0.0])))
    plan = WalkMPPI(bundle, go2, task, np.random.default_rng(0)).plan(state, np.array([0.8, 0.0, 0.0]))
    eyes = LegsEyes(go2, task)
    eyes.use(bundle)
    qpos = eyes.qpos(state)
    np.testing.assert_array_equal(qpos[:3], state.base.position)
    drawn = eyes.planned(plan)
    np.testing.assert_allclose(drawn.path[0, :2], state.base.position[:2])
    way = drawn.path[-1, :2] - drawn.path[0, :2]
    assert 0.15 < np.linalg.norm(way) < 0.5  # half a second
    assert np.arctan2(way[1], way[0]) == pytest.approx(yaw_of(state.base.quaternion), abs=0.3)
    assert drawn.samples.shape == (SHOWN, len(plan.states), 3)
    with pytest.raises(BadInput, match="topic plan: states: got 7 numbers a state"):
        eyes.planned(plan._replace(states=plan.states[:, :7]))
    assert drawn.samples[:, -1].std(0).max() > 0.005


def test_a_page_that_nobody_looks_at_draws_nothing_and_its_port_is_not_given_away(go2: LeggedConfig, port: int) -> None:
    eyes = LegsEyes(go2, load_walk_task(go2, "goal"))
    page = Page(eyes.model, eyes.goal, Asked(), "127.0.0.1", port, on_floor=True)
    page.show(Look(qpos=eyes.model.qpos0, status=Status(mode="ready")))
    assert (page.watched, page.frames) == (False, 0)
    with pytest.raises(BadInput, match=f"--port: got {port}, expected a free port of 127.0.0.1"):
        Page(eyes.model, eyes.goal, Asked(), "127.0.0.1", port, on_floor=True)
    page.close()
    with pytest.raises(BadInput, match="--port: got 0, expected 1 to 65535"):
        require_free("127.0.0.1", 0)
