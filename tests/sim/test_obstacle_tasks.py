"""Tasks with obstacles: they are in the plant and in the plan, episodes begin and end in their regions, and subgoals lead around."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taustack.config import Region, RobotConfig, TaskConfig, load_task
from taustack.controllers.bundle import Bundle
from taustack.controllers.mppi import MPPI
from taustack.errors import BadInput, TaustackError
from taustack.kinematics import KinematicChain
from taustack.layout import Measured
from taustack.obstacles import Obstacle, capsule_distances, obstacle_rows
from taustack.pool import Workers, run_all
from taustack.sim.evaluate import EpisodeSpec, episode
from taustack.sim.goals import configuration_in, draw_goal, scenario_of_task
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario
from taustack.strict_yaml import load

EPISODES = 3
ALL = range(EPISODES, EPISODES + 1)


@pytest.fixture(scope="module")
def wall(robot: RobotConfig) -> TaskConfig:
    return load_task(robot, "wall")


def test_episodes_begin_and_end_in_their_regions_and_touch_nothing(robot: RobotConfig, chain: KinematicChain, wall: TaskConfig) -> None:
    plant, rng = MujocoPlant(robot, Scenario(obstacles=wall.obstacles)), np.random.default_rng(0)
    assert wall.start is not None
    assert wall.goals is not None
    for _ in range(5):
        q = configuration_in(wall.start, plant, chain, rng, robot.home)
        for point, region in ((chain.position(q), wall.start), (draw_goal(plant, chain, rng, wall.goals), wall.goals)):
            assert (point >= np.array(region.low) - 0.003).all()
            assert (point <= np.array(region.high) + 0.003).all()
        assert not plant.in_collision(q)
        plant.reset(q)
        assert plant.data.ncon == 0


def test_a_region_inside_an_obstacle_is_refused(robot: RobotConfig, chain: KinematicChain, wall: TaskConfig) -> None:
    inside = Region(low=(0.5, -0.01, 0.2), high=(0.6, 0.01, 0.3))
    with pytest.raises(TaustackError, match="without touching something"):
        configuration_in(inside, MujocoPlant(robot, Scenario(obstacles=wall.obstacles)), chain, np.random.default_rng(0), robot.home)


def test_a_start_is_looked_for_near_the_joint_positions_that_the_task_names(robot: RobotConfig, chain: KinematicChain) -> None:
    behind = load_task(robot, "behind")
    assert behind.start_near is not None
    scenario = scenario_of_task(robot, behind, Scenario(), np.random.default_rng(0))
    assert scenario.initial_q is not None
    assert abs(scenario.initial_q[0] - behind.start_near[0]) < 1.0
    assert behind.start is not None
    assert chain.position(np.array(scenario.initial_q))[0] < behind.start.high[0] + 0.003


def test_the_plan_keeps_the_arm_off_an_obstacle_that_appears_on_its_way(robot: RobotConfig, task: TaskConfig, bundle: Bundle, chain: KinematicChain) -> None:
    """A ball where the end effector would pass; in the expected states of the plans its capsules go around it, and without it through."""
    ball = [Obstacle(shape="sphere", position=(0.5, 0.12, 0.45), size=(0.06,))]
    nearest = {}
    for known in (True, False):
        planner = MPPI(bundle, robot, task, np.random.default_rng(0))
        planner.set_obstacles(ball if known else [])
        plant = MujocoPlant(robot)
        plant.reset(np.array([-0.4, 0.1, 0.0, -1.9, 0.0, 1.9, -0.7853]))
        goal, least = np.array([0.45, 0.42, 0.45]), np.inf
        for seq in range(60):
            state = plant.read()
            plan = planner.plan(Measured(state=state, seq=seq), goal)
            points = chain.of_capsules.components(plan.states[:, :7].T)
            least = min(least, float(capsule_distances(points, np.array(chain.capsules), obstacle_rows(ball)).min()))
            plant.write(plan.states[1, 14:21], plan.actions[0])
            plant.advance(robot.rates.control_dt)
        nearest[known] = least
    assert nearest[False] < 0.0
    assert nearest[True] > 0.0


@pytest.mark.parametrize(("planner", "reached", "touched"), [("direct", range(2), range(EPISODES + 1)), ("straight", ALL, range(1)), ("tdm", ALL, range(1))])
def test_mppi_alone_stops_at_the_wall_and_over_subgoals_it_gets_past(robot: RobotConfig, planner: str, reached: range, touched: range) -> None:
    specs = [
        EpisodeSpec(robot=robot.folder, task="wall", scenario="nominal", planner=planner, bundle=robot.folder / "bundle", seed=1, index=i)
        for i in range(EPISODES)
    ]
    done = run_all(episode, specs, Workers(count=1))
    assert sum(e.success for e in done) in reached
    assert sum(e.contact_ticks > 0 for e in done) in touched
    assert sum(sum(e.violations.values()) for e in done) == 0


def test_out_of_a_pocket_the_arm_is_led_without_touching_it(robot: RobotConfig) -> None:
    spec = EpisodeSpec(robot=robot.folder, task="pocket", scenario="nominal", planner="tdm", bundle=robot.folder / "bundle", seed=1, index=0)
    done = episode(spec)
    assert done.success
    assert done.contact_ticks == 0


def test_over_the_joints_the_arm_is_there_sooner_than_over_straight_lines(robot: RobotConfig) -> None:
    times = {}
    for planner in ("straight", "tdm"):
        specs = [
            EpisodeSpec(robot=robot.folder, task="behind", scenario="nominal", planner=planner, bundle=robot.folder / "bundle", seed=1, index=i)
            for i in range(3)
        ]
        done = run_all(episode, specs, Workers(count=1))
        assert all(e.success for e in done)
        assert sum(e.contact_ticks for e in done) == 0
        times[planner] = np.median([e.time_to_goal_s for e in done])
    assert times["tdm"] < 0.95 * times["straight"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("start: {low: [0.5, 0, 0], high: [0.4, 0, 0]}", "start.*at most high in each entry"),
        ("obstacles: [{shape: box, position: [0, 0, 0], size: [1, 1]}]", "obstacles.0"),
        ("subgoals: {points: 0}", "subgoals.points"),
        ("subgoals: {elites: 0.9}", "subgoals.elites"),
    ],
)
def test_a_bad_task_is_refused_by_key(text: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("cost: {goal_position: 1.0}\n" + text + "\n")
    with pytest.raises(BadInput, match=part):
        load(TaskConfig, path)
