"""Export to ONNX and write the bundle: graphs with metadata, golden inputs and outputs, manifest."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import torch
import yaml
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn

from taustack.config import RobotConfig, TaskConfig
from taustack.errors import TaustackError
from taustack.kinematics import KinematicChain
from taustack.layout import PARTS
from taustack.manifest import DYNAMICS, GOLDEN, MANIFEST, TRAINING, DataSource, Manifest, PlanSpec, RobotContract, sha256_of
from taustack.models.base import write_training
from taustack.models.ensemble import DynamicsEnsemble, Transitions
from taustack.models.only_if import branch
from taustack.models.plan_step import INPUTS, OUTPUTS, MPPIPlanStep
from taustack.models.tdm.terminal import TERMINAL_FILE, TDMTerminal, write_terminal
from taustack.obstacles import Obstacle, obstacle_rows
from taustack.rollout import ActionBounds, CostTerm
from taustack.tdm_layout import TERMINAL_TERM
from taustack.version import code_version

PARITY = 1e-5  # largest difference between torch and the exported graph, relative to the largest value of each output
OPSET = 18
PLAN_FILE = "plan_mppi.onnx"
EXAMPLE = (
    Obstacle(shape="box", position=(0.4, 0.1, 0.2), size=(0.2, 0.02, 0.2)), Obstacle(shape="sphere", position=(0.3, -0.2, 0.5), size=(0.1,)),
)  # fmt: skip
"""Two of them: the exporter takes a size of one for good."""
DYNAMICS_OUTPUTS = ("mean", "std", "torque")


def export_graph(
    module: nn.Module,
    args: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    about: Mapping[str, str],
    any_size: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Export a module, add `about` as metadata, and compare with torch on `args`, and on twice as many rows where any number may come.

    Args:
        module, args: what to export, and arguments to do it with.
        inputs, outputs: their names.
        path: the file.
        about: its metadata.
        any_size: inputs whose first axis may have any size, and the name of that size.

    Returns:
        Golden arrays: `<stem>/<name>` for each input and for each output of the exported graph.

    Raises:
        TaustackError: the exported graph differs from torch by more than PARITY.
    """
    model = _traced(module.eval(), args, inputs, outputs, path, any_size or {})
    _slim(model)
    branch(model)
    proto = ir.to_proto(model)
    onnx.helper.set_model_props(proto, {**about, "code_version": code_version()})
    # The exporter's notes on where each node came from carry this machine's paths.
    proto.graph.doc_string = ""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    path.write_bytes(proto.SerializeToString(deterministic=True))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def compared(given: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
        feed = {name: value.numpy() for name, value in zip(inputs, given, strict=True)}
        found = session.run(None, feed)
        with torch.no_grad():
            expected = module(*given)
        for name, ours, theirs in zip(outputs, expected, found, strict=True):
            gap = float(np.max(np.abs(ours.numpy() - theirs))) / max(1.0, float(np.max(np.abs(theirs))))
            if not gap <= PARITY:
                raise TaustackError(f"{path.name}: output {name} differs from torch by {gap:.3g}, expected at most {PARITY:g}")
        return feed | dict(zip(outputs, found, strict=True))

    if any_size:  # what a trace takes for good shows at another size
        compared(tuple(torch.cat([value, value]) if name in any_size else value for name, value in zip(inputs, args, strict=True)))
    return {f"{path.stem}/{name}": np.asarray(value, dtype=np.float32) for name, value in compared(args).items()}


def _traced(module: nn.Module, args: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], path: Path, any_size: Mapping[str, str]) -> ir.Model:
    """By the exporter that traces, in a ninth of the time of the one that captures (decision 25); `path` is where it writes."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, args, path, dynamo=False, input_names=list(inputs), output_names=list(outputs), opset_version=OPSET,
            dynamic_axes={name: {0: size} for name, size in any_size.items()},
        )  # fmt: skip
    model: ir.Model = ir.from_proto(onnx.load(path))
    return model


def _slim(model: ir.Model) -> None:
    """What the exporter would do to a graph but for its rewrite rules, which take two thirds of an export and save onnxruntime nothing (decision 18)."""
    passes.InlinePass()(model)
    fold_constants(model, onnx_shape_inference=False)
    ir.passes.Sequential(
        passes.RemoveUnusedNodesPass(), passes.RemoveUnusedFunctionsPass(), passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0), passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(), passes.RemoveUnusedNodesPass(), passes.OutputFixPass(), passes.NameFixPass(),
    )(model)  # fmt: skip


def write_bundle(
    folder: Path, model: DynamicsEnsemble, robot: RobotConfig, task: TaskConfig, chain: KinematicChain, terms: Mapping[str, CostTerm],
    *, data: DataSource, metrics: dict[str, float], name: str, version: str, command: str, seed: int, delay_steps: int = 0,
    transitions: Transitions | None = None, terminal: TDMTerminal | None = None,
) -> Manifest:  # fmt: skip
    """Export the dynamics and the plan step of a task and write the whole bundle; it appears in `folder` at once or not at all.

    `transitions`: what the model learned from; a sample of it travels along, so that retraining does not forget it.
    `terminal`: a cost term more, its networks travel along.
    """
    if terminal is not None:
        terms = {**terms, TERMINAL_TERM: terminal}
    folder.parent.mkdir(parents=True, exist_ok=True)
    contract = RobotContract.of(robot)
    about = {"taustack": contract.model_dump_json()}
    mppi = task.mppi
    spec = PlanSpec.sized(PLAN_FILE, samples=mppi.samples, shards=mppi.shards, horizon=mppi.horizon, members=model.config.members, cost_terms=tuple(terms))
    bounds = ActionBounds.of(robot)
    step = MPPIPlanStep(model, chain, list(terms.values()), bounds, robot.clearance, (robot.q_min, robot.q_max))
    rng = torch.Generator().manual_seed(seed)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work = Path(temporary) / "bundle"
        work.mkdir()
        golden = export_graph(model, _dynamics_example(robot, rng), ("x", "u"), DYNAMICS_OUTPUTS, work / DYNAMICS, about, {"x": "batch", "u": "batch"})
        golden |= export_graph(step, _plan_example(robot, spec, rng), INPUTS, OUTPUTS, work / PLAN_FILE, about, {"obstacles": "n_obstacles"})
        np.savez_compressed(work / GOLDEN, **golden)  # type: ignore[arg-type]
        if transitions is not None:
            write_training(work / TRAINING, model, transitions, seed)
        if terminal is not None:
            write_terminal(work / TERMINAL_FILE, terminal)
        manifest = Manifest(
            name=name, version=version, created=datetime.now(UTC).strftime("%Y-%m-%d"), code_version=code_version(), command=command, task=task.name,
            contract=contract, state_layout=PARTS, delay_steps=delay_steps,
            feature_mean=rounded(model.feature_mean), feature_std=rounded(model.feature_std),
            target_mean=rounded(model.target_mean), target_std=rounded(model.target_std),
            plan=spec, data=data, metrics=metrics, files={path.name: sha256_of(path) for path in sorted(work.iterdir())},
        )  # fmt: skip
        (work / MANIFEST).write_text(yaml.safe_dump(manifest.model_dump(mode="json"), sort_keys=False, width=120))
        put_in_place(work, folder)
    return manifest


def rounded(values: Tensor) -> tuple[float, ...]:
    """As a manifest states them."""
    return tuple(float(f"{float(value):.8g}") for value in values)


def put_in_place(work: Path, folder: Path) -> None:
    """Put the finished folder in place; files of the project that are no part of a bundle stay."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        folder.rename(old)
        for path in old.iterdir():
            if path.suffix not in (".onnx", ".npz") and path.name != MANIFEST:
                path.rename(work / path.name)
            else:
                path.unlink()
        old.rmdir()
    work.rename(folder)


def _dynamics_example(robot: RobotConfig, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    x, u = _states(robot, 8, rng), torch.randn(8, robot.n, generator=rng) * 0.3
    return x, u


def _plan_example(robot: RobotConfig, spec: PlanSpec, rng: torch.Generator) -> tuple[Tensor, ...]:
    horizon, samples = spec.horizon, spec.samples_per_shard
    scale = torch.tensor(0.25 * robot.limits("velocity"), dtype=torch.float32)
    noise = torch.randn(1, samples, robot.n, generator=rng).expand(horizon, -1, -1).contiguous() * scale
    goal = torch.tensor(robot.workspace.centre) + 0.3
    return (
        _states(robot, 1, rng)[0], goal, torch.zeros(robot.n), torch.tensor(0.0), torch.tensor(float(horizon)), torch.zeros(horizon, robot.n), noise,
        torch.full((len(spec.cost_terms),), 0.5), torch.tensor(1.0), torch.tensor(obstacle_rows(EXAMPLE), dtype=torch.float32),
    )  # fmt: skip


def _states(robot: RobotConfig, batch: int, rng: torch.Generator) -> Tensor:
    low, high = (torch.tensor(a, dtype=torch.float32) for a in (robot.q_min, robot.q_max))
    q = low + (0.25 + 0.5 * torch.rand(batch, robot.n, generator=rng)) * (high - low)
    dq = 0.3 * torch.randn(batch, robot.n, generator=rng)
    return torch.cat([q, dq, q + 0.01 * dq, 0.9 * dq], 1)
