"""A TDM at the end of MPPI's horizon: the term is what its networks say, the bundle carries it, and only a task that asks for it is led by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from taustack.cli import main
from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import load_bundle
from taustack.controllers.mppi import MPPI
from taustack.errors import BadInput, BundleRefused
from taustack.kinematics import KinematicChain
from taustack.manifest import MANIFEST, sha256_of
from taustack.models.again import carried_terminal
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.spec import TDMConfig
from taustack.models.tdm.terminal import RESOLUTION_M, TERMINAL_FILE, TDMTerminal, read_terminal, write_terminal
from taustack.rollout import Rollout
from taustack.tdm_arm import layout_of, reach_layout

pytestmark = pytest.mark.no_cover  # tracing makes the ONNX exporter three times as slow


def terminal_of(robot: RobotConfig, chain: KinematicChain) -> TDMTerminal:
    return TDMTerminal(TDMLearner(reach_layout(robot, chain, 15), TDMConfig(hidden=(16, 16))))


@pytest.fixture(scope="module")
def ended(robot: RobotConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle for a task of ten steps that ends in a TDM, trained for a moment, by the commands of the documentation."""
    folder = tmp_path_factory.mktemp("terminal")
    train = ["train", "tdm", robot.name, "--hidden", "8", "8", "--steps", "520", "--updates", "1", "--evaluate-every", "520", "--out", str(folder / "tdm")]
    assert main(train) == 0
    assert main(["models", "terminal", str(robot.folder / "bundle"), str(folder / "tdm"), "--task", "reach", "--out", str(folder / "bundle")]) == 0
    return folder / "bundle"


@torch.no_grad()
def test_the_term_is_the_distance_that_the_networks_leave(robot: RobotConfig, chain: KinematicChain, tmp_path: Path) -> None:
    term, rng, n, k = terminal_of(robot, chain), np.random.default_rng(0), robot.n, 5
    write_terminal(tmp_path / TERMINAL_FILE, term)
    again = read_terminal(tmp_path / TERMINAL_FILE)
    q, u, ee, goal = (torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in ((4, k, n), (4, k, n), (3, 4, k), (3,)))
    seen = {name: None for name in Rollout.__dataclass_fields__} | {"q": q, "u": u, "ee": ee, "goal": goal}
    found = term(Rollout(**seen), torch)  # type: ignore[arg-type]
    expected = torch.zeros(k)
    for tau in (4.0, 9.0, 15.0):
        s = torch.cat([torch.sin(q[-1]), torch.cos(q[-1]), u[-1], q[-1], ee[:, -1].T], 1)
        g, left = goal.expand(k, 3), torch.full((k,), tau)
        f = term.learner.f(s, term.learner.policy(s, g, left), g, left)[0, :, 0]
        expected += torch.log(((goal - f) ** 2).sum(1) + RESOLUTION_M**2) / 3
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(again(Rollout(**seen), torch), found)  # type: ignore[arg-type]


def test_what_is_no_such_model_is_refused(robot: RobotConfig, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "y.npz", about=np.array({"a": 1}, dtype=object))
    for name in ("x.npz", "y.npz", "z.npz"):
        with pytest.raises(BundleRefused, match=name):
            read_terminal(tmp_path / name)
    with pytest.raises(BadInput, match="the end effector's x, y, z and 31"):
        TDMTerminal(TDMLearner(layout_of(robot, 15), TDMConfig(hidden=(8,))))


def test_a_task_that_asks_for_it_ends_in_it_and_no_other(ended: Path, robot: RobotConfig, task: TaskConfig) -> None:
    bundle, asking = load_bundle(ended, robot), task.model_copy(update={"terminal": "tdm"})
    plain, led = (MPPI(bundle, robot, of, np.random.default_rng(0)) for of in (task, asking))
    at = {name: i for i, name in enumerate(bundle.manifest.plan.cost_terms)}
    assert plain.weights[at["tdm"]] == 0 < plain.weights[at["terminal"]]
    assert led.weights[at["terminal"]] == 0 < led.weights[at["tdm"]]
    led.set_weight("terminal", 0.5)
    assert (led.weights[at["terminal"]], led.weights[at["tdm"]]) == (0, 0.5)
    assert bundle.manifest.tdm is not None
    assert bundle.manifest.holdout == load_bundle(robot.folder / "bundle").manifest.holdout
    with pytest.raises(BundleRefused, match="taustack models terminal"):
        MPPI(load_bundle(robot.folder / "bundle", robot), robot, asking, np.random.default_rng(0))


def test_retraining_finds_it_in_the_bundle_and_only_whole(ended: Path, robot: RobotConfig, tmp_path: Path) -> None:
    kept = carried_terminal(ended)
    assert kept is not None
    assert carried_terminal(robot.folder / "bundle") is None
    shutil.copytree(ended, tmp_path / "bundle")
    path = tmp_path / "bundle" / TERMINAL_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleRefused, match="sha256"):
        load_bundle(tmp_path / "bundle", robot)
    manifest = yaml.safe_load((tmp_path / "bundle" / MANIFEST).read_text())
    manifest["files"][TERMINAL_FILE] = sha256_of(path)
    (tmp_path / "bundle" / MANIFEST).write_text(yaml.safe_dump(manifest))
    with pytest.raises(BundleRefused, match=TERMINAL_FILE):
        carried_terminal(tmp_path / "bundle")


def test_an_unfinished_training_is_none(robot: RobotConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "terminal", str(robot.folder / "bundle"), str(tmp_path), "--task", "reach", "--out", str(tmp_path / "out")]) == 2
    assert "expected a finished training" in capsys.readouterr().err
