"""Subgoals: where the straight line is free, the goal; else around what is in the way, and said where there is no way."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from taustack.config import RobotConfig, SubgoalConfig, load_task
from taustack.controllers.bundle import Bundle
from taustack.controllers.mppi import MPPI
from taustack.controllers.straight import StraightLines
from taustack.controllers.subgoal_kinds import KINDS, make_subgoal_planner
from taustack.controllers.subgoals import Direct, Guided, Subgoal
from taustack.errors import UnknownName
from taustack.layout import Measured, RobotState
from taustack.obstacles import Obstacle, obstacle_rows, point_distances

CONFIG = SubgoalConfig()
WALL = Obstacle(shape="box", position=(0.55, 0.0, 0.25), size=(0.30, 0.02, 0.25))
FROM, TO = np.array([0.5, -0.3, 0.2]), np.array([0.5, 0.3, 0.2])
At = Callable[..., RobotState]


@pytest.fixture
def at(at_home: At) -> Callable[[np.ndarray], RobotState]:
    """The robot's state with its end effector anywhere."""

    return lambda ee: at_home()._replace(ee=np.asarray(ee, dtype=float))


def least_room(chain: np.ndarray, obstacles: list[Obstacle]) -> float:
    share = np.linspace(0, 1, 200)[:, None]
    way = np.concatenate([a + share * (b - a) for a, b in itertools.pairwise(chain)])
    return float(point_distances(way.T, obstacle_rows(obstacles)).min())


def test_with_nothing_in_the_way_it_is_the_goal_itself(robot: RobotConfig, at: At) -> None:
    for planner in (StraightLines(robot, CONFIG), StraightLines(robot, CONFIG, [WALL.model_copy(update={"position": (0.0, -0.7, 0.25)})]), Direct(0.6)):
        chosen = planner.choose(at(FROM), TO)
        np.testing.assert_array_equal(chosen.point, TO)
        assert chosen.free
        assert chosen.time_s == pytest.approx(0.6 / 0.6)


def test_it_leads_around_a_wall_with_room_and_the_same_way_by_the_same_seed(robot: RobotConfig, at: At) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, goal = FROM + rng.uniform(-0.1, 0.1, 3), TO + rng.uniform(-0.1, 0.1, 3)
        chosen = StraightLines(robot, CONFIG, [WALL]).choose(at(start), goal)
        assert chosen.free
        assert len(chosen.chain) > 2
        np.testing.assert_array_equal(chosen.chain[[0, -1]], [start, goal])
        assert least_room(chosen.chain, [WALL]) > 0.8 * CONFIG.clearance
        assert chosen.time_s < 2.5  # not far around
        again = StraightLines(robot, CONFIG, [WALL]).choose(at(start), goal)
        np.testing.assert_array_equal(again.chain, chosen.chain)


def test_once_past_the_wall_it_is_the_goal(robot: RobotConfig, at: At) -> None:
    planner = StraightLines(robot, CONFIG, [WALL])
    assert not np.array_equal(planner.choose(at(FROM), TO).point, TO)
    np.testing.assert_array_equal(planner.choose(at([0.5, 0.16, 0.45]), TO).point, TO)


def test_obstacles_may_come_and_go(robot: RobotConfig, at: At) -> None:
    planner = StraightLines(robot, CONFIG)
    assert len(planner.choose(at(FROM), TO).chain) == 2
    planner.set_obstacles([WALL])
    assert len(planner.choose(at(FROM), TO).chain) > 2
    planner.set_obstacles([])
    assert len(planner.choose(at(FROM), TO).chain) == 2


def test_a_goal_that_is_walled_in_has_no_free_way(robot: RobotConfig, at: At) -> None:
    box = [Obstacle(shape="box", position=tuple(TO + 0.15 * d), size=tuple(0.02 + 0.15 * (d == 0))) for d in (*np.eye(3), *-np.eye(3))]  # type: ignore[arg-type]
    chosen = StraightLines(robot, CONFIG, box).choose(at(FROM), TO)
    assert not chosen.free
    assert np.isfinite(chosen.point).all()


def test_mppi_is_led_over_the_subgoals_at_their_own_rate(robot: RobotConfig, bundle: Bundle, at_home: At) -> None:
    class Told:
        asked = 0

        def choose(self, state: RobotState, goal: np.ndarray) -> Subgoal:
            self.asked += 1
            return Subgoal(point=goal + 0.1, tau_s=0.2, chain=np.stack([state.ee, goal + 0.1, goal]), time_s=1.0, free=True)

        def set_obstacles(self, obstacles: object) -> None: ...

        def reset(self) -> None: ...

    task = load_task(robot, "reach")
    planner, told, goal = MPPI(bundle, robot, task, np.random.default_rng(0)), Told(), np.array([0.5, 0.1, 0.4])
    guided = Guided(planner, told, rate_hz=10.0)
    plans = [guided.plan(Measured(state=at_home(0.02 * i), seq=i), goal) for i in range(11)]
    assert told.asked == 3  # at 0, 0.1 and 0.2 s
    assert plans[0].basis is not None
    np.testing.assert_allclose(plans[0].basis.goal, goal + 0.1)
    assert plans[0].basis.tau == 0.0  # as soon as possible
    guided.plan(Measured(state=at_home(0.22), seq=12), goal + 0.05)  # another goal is asked for at once
    assert told.asked == 4


def test_unknown_kinds_come_with_the_choices(robot: RobotConfig) -> None:
    with pytest.raises(UnknownName, match=", ".join(KINDS)):
        make_subgoal_planner("curly", robot, load_task(robot, "reach"))
