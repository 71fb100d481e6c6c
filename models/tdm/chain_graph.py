"""plan_tdm.onnx: all rounds of the search and the account of what came of it, one graph. The round stands in it once, in a loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper
from torch import Tensor

from taustack.errors import TaustackError
from taustack.models.export import EXAMPLE, export_graph
from taustack.models.tdm.chain_step import ChainAccount, ChainStep
from taustack.obstacles import obstacle_rows
from taustack.tdm_layout import CHAIN_INPUTS, CHAIN_OUTPUTS

SAME = ("x", "goal", "obstacles", "margin")
CARRIED = ("mean", "deviation", "best", "least")
FAR_S = 1e9
SEARCH_PARITY = 1e-4
"""Largest difference to torch after all rounds, relative to the largest value of each output: costs are distances times up to 30 s/m."""
LIKE_ALIKE = 1e-3
"""Deviation of the golden chains: which of two equal ones is among the elites depends on the last bit, and must not matter to the outcome."""


def write_chain_graph(path: Path, step: ChainStep, home: Tensor, about: Mapping[str, str], seed: int) -> dict[str, np.ndarray]:
    """Export to `path`; golden inputs and outputs by `<stem>/<name>`.

    Raises:
        TaustackError: the graph differs from torch by more than SEARCH_PARITY.
    """
    example, account = _example(step, home, seed), ChainAccount(step)
    # A tensor that is given twice would be taken for one input.
    one = (*(example[name] for name in SAME), example["mean"], example["deviation"], example["mean"].clone(), torch.tensor(FAR_S), example["noise"][0])
    parts = path.with_name(f".{path.name}.round"), path.with_name(f".{path.name}.account")
    sizes = {"obstacles": "n_obstacles"}
    try:
        export_graph(step, one, (*SAME, *CARRIED, "noise"), tuple(f"{name}_next" for name in CARRIED), parts[0], {}, sizes)
        rest = (example["x"], example["goal"], example["obstacles"], example["mean"])
        export_graph(account, rest, ("x", "goal", "obstacles", "chain"), CHAIN_OUTPUTS[1:-1], parts[1], {}, sizes)
        model = _joined(onnx.load(parts[0]), onnx.load(parts[1]), {name: list(example[name].shape) for name in CHAIN_INPUTS})
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    helper.set_model_props(model, dict(about))
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    feed = {name: example[name].numpy() for name in CHAIN_INPUTS}
    found = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feed)
    for name, ours, theirs in zip(CHAIN_OUTPUTS, _in_torch(step, account, example), found, strict=True):
        gap = float(np.abs(ours.numpy() - theirs).max()) / max(1.0, float(np.abs(theirs).max()))
        if not gap <= SEARCH_PARITY:
            raise TaustackError(f"{path.name}: output {name} differs from torch by {gap:.3g}, expected at most {SEARCH_PARITY:g}")
    path.write_bytes(data)
    return {f"{path.stem}/{name}": np.asarray(value, np.float32) for name, value in (feed | dict(zip(CHAIN_OUTPUTS, found, strict=True))).items()}


def _example(step: ChainStep, home: Tensor, seed: int) -> dict[str, Tensor]:
    spec, n, rng = step.spec, home.shape[0], torch.Generator().manual_seed(seed)
    with torch.no_grad():
        goal = step.points.position(home + 0.2, torch)
        mean = torch.cat([(home - 0.15).repeat(spec.links - 1, 1), home[None] + 0.1])  # a detour: no two ways are equally long
    return {
        "x": torch.cat([home, torch.zeros(n), home, torch.zeros(n)]), "goal": goal, "mean": mean,
        "deviation": torch.full((spec.links, n), LIKE_ALIKE), "noise": torch.randn(spec.rounds, spec.samples, spec.links, n, generator=rng),
        "obstacles": torch.tensor(obstacle_rows(EXAMPLE), dtype=torch.float32), "margin": torch.tensor(0.06),
    }  # fmt: skip


@torch.no_grad()
def _in_torch(step: ChainStep, account: ChainAccount, feed: dict[str, Tensor]) -> tuple[Tensor, ...]:
    same = [feed[name] for name in SAME]
    mean, deviation, best, least = feed["mean"], feed["deviation"], feed["mean"], torch.tensor(FAR_S)
    for noise in feed["noise"].unbind(0):
        mean, deviation, best, least = step(*same, mean, deviation, best, least, noise)
    return best, *account(feed["x"], feed["goal"], feed["obstacles"], best), least


def _joined(one_round: onnx.ModelProto, account: onnx.ModelProto, shapes: dict[str, list[int]]) -> onnx.ModelProto:
    """Loop of the round over the noise, then the account. What is the same in each round is seen from inside by its name."""
    body = _prefixed(one_round.graph, "round/", {*SAME})
    inside = {name: f"round/{name}" for name in CARRIED}
    body_nodes = [helper.make_node("Gather", ["noise", "round/i"], ["round/noise"], axis=0), *body.node]
    carried = [shapes["mean"], shapes["mean"], shapes["mean"], []]
    going = helper.make_node("Identity", ["round/go"], ["round/go_on"])
    loop_body = helper.make_graph(
        [*body_nodes, going], "round",
        [
            helper.make_tensor_value_info("round/i", TensorProto.INT64, []), helper.make_tensor_value_info("round/go", TensorProto.BOOL, []),
            *(helper.make_tensor_value_info(inside[name], TensorProto.FLOAT, shape) for name, shape in zip(CARRIED, carried, strict=True)),
        ],
        [
            helper.make_tensor_value_info("round/go_on", TensorProto.BOOL, []),
            *(helper.make_tensor_value_info(f"round/{name}_next", TensorProto.FLOAT, shape) for name, shape in zip(CARRIED, carried, strict=True)),
        ],
        list(body.initializer),
    )  # fmt: skip
    rest = _prefixed(account.graph, "account/", {"x", "goal", "obstacles"})
    given = [
        helper.make_tensor("rounds", TensorProto.INT64, [], [shapes["noise"][0]]), helper.make_tensor("far", TensorProto.FLOAT, [], [FAR_S]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    ]  # fmt: skip
    loop = helper.make_node("Loop", ["rounds", "yes", "mean", "deviation", "mean", "far"], ["mean_end", "deviation_end", "chain", "cost"], body=loop_body)
    nodes = [
        loop, helper.make_node("Identity", ["chain"], ["account/chain"]), *rest.node,
        *(helper.make_node("Identity", [f"account/{name}"], [name]) for name in CHAIN_OUTPUTS[1:-1]),
    ]  # fmt: skip
    sizes: dict[str, list[int | str]] = {name: [*shape] for name, shape in shapes.items()}
    sizes["obstacles"] = ["n_obstacles", 7]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes[name]) for name in CHAIN_INPUTS]
    links = shapes["mean"][0]
    outputs: list[list[int]] = [shapes["mean"], [links, 3], [links], [], [], [], []]
    graph = helper.make_graph(
        nodes, "plan_tdm", inputs, [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(CHAIN_OUTPUTS, outputs, strict=True)],
        [*given, *rest.initializer],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=one_round.opset_import, ir_version=one_round.ir_version, functions=[*one_round.functions])


def _prefixed(graph: onnx.GraphProto, prefix: str, kept: set[str]) -> onnx.GraphProto:
    """The same with a prefix before every name, but those of values that come from outside."""
    out = onnx.GraphProto()
    out.CopyFrom(graph)

    def renamed(name: str) -> str:
        return name if not name or name in kept else prefix + name

    for node in out.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [renamed(name) for name in names]
    for initializer in out.initializer:
        initializer.name = renamed(initializer.name)
    return out
