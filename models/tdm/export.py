"""tdm.onnx: f, Q and the policy in one graph, with what they assume in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from taustack.models.export import export_graph
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.replay import Replay
from taustack.tdm_layout import INPUTS, METADATA, OUTPUTS, TDMContract
from taustack.version import code_version

EXAMPLES = 8


class TDMGraph(nn.Module):
    """(s, a, g, tau) -> f (B, quantiles, ng), q (B, ng), action (B, na) of the policy at s. f is the mean of the twins."""

    def __init__(self, learner: TDMLearner) -> None:
        super().__init__()
        self.reach, self.policy = learner.reach, learner.policy

    def forward(self, s: Tensor, a: Tensor, g: Tensor, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        action, wanted = self.policy.decide(s, g, tau)
        f = self.reach(s, a, g, tau, wanted).mean(0)
        q = -(g[:, None] - f).abs().mean(1)
        return f, q, action


def write_tdm(path: Path, learner: TDMLearner, replay: Replay, task: str, about: Mapping[str, str] | None = None) -> tuple[TDMContract, dict[str, np.ndarray]]:
    """Export to `path`, at once or not at all, with more metadata `about`; what it assumes, and golden inputs and outputs.

    Raises:
        TaustackError: the graph differs from torch by more than 1e-5 of an output's largest value.
    """
    layout, config = learner.layout, learner.config
    s, _ = replay.transitions()
    reached = s[:, list(layout.goal_index)]
    contract = TDMContract(
        task=task, layout=layout, quantiles=config.quantiles, goal_low=tuple(reached.min(0).tolist()), goal_high=tuple(reached.max(0).tolist()),
        steps=len(replay), seed=config.seed, code_version=code_version(),
    )  # fmt: skip
    batch = replay.sample(EXAMPLES, config.relabel, np.random.default_rng(config.seed))
    example = tuple(torch.from_numpy(np.asarray(value, np.float32)) for value in (batch.s, batch.a, batch.g, batch.tau))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        metadata = {METADATA: contract.model_dump_json(), **(about or {})}
        golden = export_graph(TDMGraph(learner), example, INPUTS, OUTPUTS, part, metadata, dict.fromkeys(INPUTS, "batch"))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return contract, {f"{path.stem}/{key.split('/')[1]}": value for key, value in golden.items()}
