"""Fixtures that are the real things: the shipped robot, its bundle, its plant."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np
import pytest
import yaml

from taustack.config import RobotConfig, TaskConfig, load_robot, load_task
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.kinematics import KinematicChain
from taustack.layout import RobotState
from taustack.pool import Workers, run_all
from taustack.sim.evaluate import EpisodeSpec, episode
from taustack.sim.log import write_log
from taustack.sim.mjcf import chain_from_model, compile_model

from .inconclusive import Inconclusive

PROJECT = Path(__file__).resolve().parent.parent
PANDA = PROJECT / "robots" / "panda"
LONGEST_FIRST = ("tests", "sim", "models", "faults")  # folders


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--until", type=float, default=math.inf, help="Unix time [s] after which no test of the real graph begins: the rest is inconclusive")


def pytest_configure(config: pytest.Config) -> None:
    """Tests of the real graph are judged by what the machine did meanwhile."""
    config.pluginmanager.register(Inconclusive(until=config.getoption("--until")), "inconclusive")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For the workers the longest files first, so that they end together: those with slow tests, those of the whole (directly in `tests`), those
    that simulate and train; the rooms' short ones fill up. One process alone keeps the order that it was given.

    The controllers are to be covered by their own tests: the others simulate for long, and tracing them costs two fifths of their time.
    """
    for item in items:
        if not item.path.is_relative_to(PROJECT / "tests" / "controllers"):
            item.add_marker(pytest.mark.no_cover)
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        turns = {name: turn for turn, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: -1 if item.path in slow else turns.get(item.path.parent.name, len(turns)))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """A command that trained in this process left torch two threads: beside another worker each waits for the other's, ten times as long."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def robot() -> RobotConfig:
    return load_robot("panda")


@pytest.fixture(scope="session")
def task(robot: RobotConfig) -> TaskConfig:
    return load_task(robot, "reach")


@pytest.fixture(scope="session")
def chain(robot: RobotConfig) -> KinematicChain:
    return chain_from_model(compile_model(robot), robot)


@pytest.fixture(scope="session")
def bundle(robot: RobotConfig) -> Bundle:
    return load_bundle(robot.folder / "bundle", robot)


@pytest.fixture(scope="session")
def log_episodes(robot: RobotConfig, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a bag of real episodes."""

    def make(name: str, *, count: int, seed: int, planner: str = "least_squares", scenario: str = "nominal", folder: Path | None = None) -> Path:
        specs = [
            EpisodeSpec(robot=robot.folder, task="reach", scenario=scenario, planner=planner, bundle=robot.folder / "bundle", seed=seed, index=i, log=True)
            for i in range(count)
        ]
        bag = (folder or tmp_path_factory.mktemp("bags")) / name
        write_log(bag, robot, [done.log for done in run_all(episode, specs, Workers(count=1)) if done.log is not None], {"scenario": scenario})
        return bag

    return make


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(PANDA / "bundle", tmp_path / "bundle"))


@pytest.fixture
def robot_copy(tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], Any]], Path]:
    """Copies the robot's folder after an edit of its robot.yaml."""

    def copy(edit: Callable[[dict[str, Any]], Any]) -> Path:
        folder = tmp_path / "panda"
        shutil.copytree(PANDA, folder, dirs_exist_ok=True)
        data = yaml.safe_load((folder / "robot.yaml").read_text())
        edit(data)
        (folder / "robot.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
        return folder

    return copy


@pytest.fixture
def at_home(robot: RobotConfig, chain: KinematicChain) -> Callable[[float], RobotState]:
    """The robot at rest at home, at a time."""

    def state(t: float = 0.0) -> RobotState:
        zero = np.zeros(robot.n)
        return RobotState(t=t, q=robot.home, dq=zero, q_ref=robot.home, dq_ref=zero, torque=zero, ee=chain.position(robot.home))

    return state
