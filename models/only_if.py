"""Parts of an exported graph that run only if an input has any rows: what a plan in free space would compute of obstacles for nothing.

A module marks a value with `only_if_any`; tracing leaves a node of its own there, and `branch` makes it ONNX's `If`, with all that nothing else needs inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

DOMAIN, MARK, SHAPE = "taustack", "OnlyIfAny", "shape"


def only_if_any(rows: Tensor, value: Tensor) -> Tensor:
    """`value` (N, ...), of which there is nothing without rows (N, m); the sizes of its other axes are for good."""
    marked: Tensor = _Mark.apply(rows, value, [int(size) for size in value.shape[1:]])
    return marked


class _Mark(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, rows: Tensor, value: Tensor, shape: list[int]) -> Tensor:
        return value.clone()

    @staticmethod
    def symbolic(g: Any, rows: Any, value: Any, shape: list[int]) -> Any:
        return g.op(f"{DOMAIN}::{MARK}", rows, value, **{f"{SHAPE}_i": shape}).setType(value.type())


def branch(model: ir.Model) -> None:
    """Put each marked value, and what nothing else needs, into a branch of its own; no mark is left."""
    for mark in [node for node in model.graph if node.domain == DOMAIN and node.op_type == MARK]:
        _branch(model.graph, mark)
    model.graph.opset_imports.pop(DOMAIN, None)


def _branch(graph: ir.Graph, mark: ir.Node) -> None:
    rows, value = mark.inputs
    assert rows is not None, "a mark has both"
    assert value is not None, "a mark has both"
    count = ir.node("Size", [rows])
    some = ir.node("Cast", [count.outputs[0]], attributes={"to": int(ir.DataType.BOOL)})
    none = ir.node("Constant", [], attributes={"value": ir.tensor(np.zeros((0, *mark.attributes[SHAPE].as_ints()), dtype=np.float32))})
    for node, name in ((count, "rows"), (some, "any"), (none, "none")):
        node.outputs[0].name = f"{mark.outputs[0].name}/{name}"
    inside = _needed_only_by(mark)
    taken = [node for node in graph if node in inside]  # in their order
    graph.remove(taken)
    branches = {
        "then_branch": ir.Graph([], [value], nodes=taken, name="if_any"), "else_branch": ir.Graph([], [none.outputs[0]], nodes=[none], name="if_none"),
    }  # fmt: skip
    choice = ir.node("If", [some.outputs[0]], attributes=branches)
    graph.insert_before(mark, [count, some, choice])
    choice.outputs[0].name = f"{mark.outputs[0].name}/chosen"
    mark.outputs[0].replace_all_uses_with(choice.outputs[0])
    graph.remove(mark, safe=True)


def _needed_only_by(mark: ir.Node) -> set[ir.Node]:
    """The nodes whose every way leads to the mark, found backwards: a node is one of them once all that use it are."""
    found, waiting = set[ir.Node](), [mark]
    while waiting:
        for value in waiting.pop().inputs:
            node = value.producer() if value is not None else None
            if node is None or node in found or any(out.is_graph_output() for out in node.outputs):
                continue
            if all(user is mark or user in found for out in node.outputs for user in out.consumers()):
                found.add(node)
                waiting.append(node)
    return found
