"""A TDM of a robot's joints as part of a bundle: its graphs, golden outputs and record, written by a training and joined to any bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import yaml

from taustack.config import RobotConfig
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.manifest import GOLDEN, MANIFEST, Manifest, RobotContract, Sha256, TDMSpec, sha256_of
from taustack.models.export import put_in_place
from taustack.models.tdm.chain_graph import write_chain_graph
from taustack.models.tdm.chain_step import ChainStep
from taustack.models.tdm.export import write_tdm
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.replay import Replay
from taustack.strict_yaml import StrictModel, load
from taustack.tdm_layout import ChainSpec

CARD = "tdm.yaml"
GOLDEN_TDM = "golden_tdm.npz"


class TDMCard(StrictModel):
    """tdm.yaml: what a training wrote for bundles."""

    robot: str
    tdm: TDMSpec
    files: dict[str, Sha256]


def write_for_bundles(
    folder: Path, learner: TDMLearner, replay: Replay, robot: RobotConfig, chain: KinematicChain, spec: ChainSpec, task: str, command: str
) -> TDMCard:
    """Export f, Q, policy and the planner over them into `folder`; the card comes last, so that a folder with a card is whole."""
    about = {"taustack": RobotContract.of(robot).model_dump_json()}
    tdm = TDMSpec(chain=spec, steps=len(replay), source=command)
    golden = write_tdm(folder / tdm.file, learner, replay, task, about)[1]
    step = ChainStep(learner, chain, spec, robot.clearance, (robot.q_min, robot.q_max))
    home = torch.tensor(robot.home, dtype=torch.float32)
    golden |= write_chain_graph(folder / tdm.plan, step, home, about, learner.config.seed)
    np.savez_compressed(folder / GOLDEN_TDM, **golden)  # type: ignore[arg-type]
    card = TDMCard(robot=robot.name, tdm=tdm, files={name: sha256_of(folder / name) for name in (tdm.file, tdm.plan, GOLDEN_TDM)})
    (folder / CARD).write_text(yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, width=120))
    return card


def join(base: Path, tdm: Path, out: Path, version: str | None = None) -> Manifest:
    """A bundle of everything in `base` and the TDM of a training (or of another bundle) `tdm`; it appears in `out` at once or not at all.

    Raises:
        BadInput: a file is missing or altered, or the TDM is of another robot.
    """
    manifest = load(Manifest, base / MANIFEST)
    card, golden = _card_of(tdm)
    if card.robot != manifest.contract.robot:
        raise BadInput(tdm / CARD, "robot", card.robot, f"{manifest.contract.robot}, the robot of {base}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        work = Path(temporary) / "bundle"
        work.mkdir()
        for source, names in ((base, manifest.files), (tdm, card.files)):
            for name, expected in names.items():
                if name == GOLDEN_TDM:
                    continue
                (work / name).write_bytes(_checked(source / name, expected))
        with np.load(base / GOLDEN, allow_pickle=False) as arrays:
            np.savez_compressed(work / GOLDEN, **({key: arrays[key] for key in arrays.files} | golden))
        files = {path.name: sha256_of(path) for path in sorted(work.iterdir())}
        joined = manifest.model_copy(update={"tdm": card.tdm, "files": files, "version": version or manifest.version})
        (work / MANIFEST).write_text(yaml.safe_dump(joined.model_dump(mode="json"), sort_keys=False, width=120))
        put_in_place(work, out)
    return joined


def _card_of(folder: Path) -> tuple[TDMCard, dict[str, np.ndarray]]:
    """Of a training, or of a bundle that has a TDM."""
    if (folder / CARD).is_file():
        card, file = load(TDMCard, folder / CARD), GOLDEN_TDM
    else:
        manifest, file = load(Manifest, folder / MANIFEST), GOLDEN
        if manifest.tdm is None:
            raise BadInput(folder / MANIFEST, "tdm", "nothing", "a bundle with a temporal difference model")
        names = (manifest.tdm.file, manifest.tdm.plan, GOLDEN)
        card = TDMCard(robot=manifest.contract.robot, tdm=manifest.tdm, files={name: manifest.files[name] for name in names})
    _checked(folder / file, card.files[file])
    stems = tuple(f"{Path(name).stem}/" for name in (card.tdm.file, card.tdm.plan))
    with np.load(folder / file, allow_pickle=False) as arrays:
        golden = {key: arrays[key] for key in arrays.files if key.startswith(stems)}
    return TDMCard(robot=card.robot, tdm=card.tdm, files={name: card.files[name] for name in (card.tdm.file, card.tdm.plan)}), golden


def _checked(path: Path, expected: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BadInput(path, "", "no such file", "the file that the card or manifest lists")
    found = sha256_of(path)
    if found != expected:
        raise BadInput(path, "sha256", found, expected)
    return path.read_bytes()
