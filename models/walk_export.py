"""Export a walk's ensemble and its plan step, and write the bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from taustack.legged import LeggedConfig
from taustack.legged_layout import ACTIONS, LEARNED, NU
from taustack.manifest import DYNAMICS, GOLDEN, MANIFEST, TRAINING, DataSource, PlanSpec, Quantiles, sha256_of
from taustack.models.export import PLAN_FILE, export_graph, put_in_place, rounded
from taustack.models.walk_dataset import WalkRun
from taustack.models.walk_dynamics import WalkEnsemble
from taustack.models.walk_plan_step import INPUTS, OUTPUTS, WalkPlanStep, stride_steps
from taustack.models.walk_train import windows
from taustack.version import code_version
from taustack.walk_manifest import LeggedContract, WalkManifest
from taustack.walk_rollout import WalkCostTerm
from taustack.walk_task import WalkTaskConfig

DYNAMICS_OUTPUTS = ("mean", "std")


def write_walk_bundle(
    folder: Path, model: WalkEnsemble, robot: LeggedConfig, task: WalkTaskConfig, terms: Mapping[str, WalkCostTerm], held: list[WalkRun],
    *, data: DataSource, falls: int, metrics: dict[str, float], name: str, version: str, command: str, seed: int,
) -> WalkManifest:  # fmt: skip
    """Export dynamics and plan step of a task and write the whole bundle; it appears in `folder` at once or not at all.

    `held`: runs that were not learned from; golden inputs are states of theirs, and how far the members differ there is what to expect of them.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    contract = LeggedContract.of(robot)
    about = {"taustack": contract.model_dump_json()}
    mppi = task.mppi
    spec = PlanSpec.sized(PLAN_FILE, samples=mppi.samples, shards=mppi.shards, horizon=mppi.horizon, members=model.config.members, cost_terms=tuple(terms))
    x, u = (part[:, 0] for part in windows(held, 1))
    rng = torch.Generator().manual_seed(seed)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work = Path(temporary) / "bundle"
        work.mkdir()
        batch = {"x": "batch", "u": "batch"}
        golden = export_graph(model, (x[:8].clone(), u[:8].clone()), ("x", "u"), DYNAMICS_OUTPUTS, work / DYNAMICS, about, batch)
        step = WalkPlanStep(model, list(terms.values()), stride_steps(model))
        golden |= export_graph(step, _plan_example(x[0], model, spec, rng), INPUTS, OUTPUTS, work / PLAN_FILE, about)
        np.savez_compressed(work / GOLDEN, **golden)  # type: ignore[arg-type]
        np.savez_compressed(work / TRAINING, **{key: value.numpy() for key, value in model.state_dict().items()})
        manifest = WalkManifest(
            name=name, version=version, created=datetime.now(UTC).strftime("%Y-%m-%d"), code_version=code_version(), command=command, task=task.name,
            contract=contract, state_layout=LEARNED, action_layout=ACTIONS, plan=spec, data=data, falls=falls, metrics=metrics,
            feature_mean=rounded(model.feature_mean), feature_std=rounded(model.feature_std), target_mean=rounded(model.target_mean),
            target_std=rounded(model.target_std), disagreement=disagreement(model, x, u),
            files={path.name: sha256_of(path) for path in sorted(work.iterdir())},
        )  # fmt: skip
        (work / MANIFEST).write_text(yaml.safe_dump(manifest.model_dump(mode="json"), sort_keys=False, width=120))
        put_in_place(work, folder)
    return manifest


@torch.no_grad()
def disagreement(model: WalkEnsemble, x: Tensor, u: Tensor) -> Quantiles:
    """Of each member with the next one over one step from x (B, nx) under u (B, nu), normalised as in the plan step."""
    e = model.config.members
    changes = model.changes(model.features(x, model.strides(x, u)).expand(e, -1, -1))
    gap = torch.roll(changes, -1, 0) - changes
    q50, q95, q99 = torch.quantile(torch.sqrt((0.5 * gap * gap).mean(-1)).flatten(), torch.tensor([0.5, 0.95, 0.99])).tolist()
    return Quantiles(q50=q50, q95=q95, q99=q99)


def _plan_example(x: Tensor, model: WalkEnsemble, spec: PlanSpec, rng: torch.Generator) -> tuple[Tensor, ...]:
    noise = 0.2 * torch.randn(1, spec.samples_per_shard, NU, generator=rng).expand(spec.horizon, -1, -1) * model.most
    return (
        x, torch.tensor([0.5, 0.1, -0.2]), torch.tensor(float(spec.horizon)), torch.zeros(spec.horizon, NU), noise.contiguous(),
        torch.full((len(spec.cost_terms),), 0.5), torch.tensor(1.0),
    )  # fmt: skip
