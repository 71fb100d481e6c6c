"""What only some inputs need is computed only then: the branch in exported graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from taustack.models.export import export_graph
from taustack.models.only_if import DOMAIN, only_if_any


class Nearest(nn.Module):
    """Sum over rows of what is near, and a number that needs some of the same."""

    def forward(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        shared = torch.sin(x)
        own = torch.exp(shared).cumsum(0)
        gap = only_if_any(rows, own - rows.sum(1)[:, None])
        return (gap * gap).sum(0), shared.sum()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("graph") / "nearest.onnx"
    export_graph(Nearest(), (torch.linspace(0, 1, 5), torch.ones(2, 3)), ("x", "rows"), ("near", "sum"), path, {}, {"rows": "n"})
    return path


@pytest.mark.parametrize("count", [0, 1, 4])
def test_it_says_the_same_with_and_without_rows(graph: Path, count: int) -> None:
    x, rows = torch.linspace(-1, 1, 5), torch.arange(3.0 * count).reshape(count, 3)
    near, total = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy(), "rows": rows.numpy()})
    expected = Nearest()(x, rows)
    np.testing.assert_allclose(near, expected[0].numpy(), rtol=1e-5)
    np.testing.assert_allclose(total, expected[1].numpy(), rtol=1e-5)


def test_what_nothing_else_needs_is_inside_and_what_something_does_is_not(graph: Path) -> None:
    model = onnx.load(graph)
    (choice,) = [node for node in model.graph.node if node.op_type == "If"]
    then, other = ({node.op_type for node in attribute.g.node} for attribute in sorted(choice.attribute, key=lambda a: a.name, reverse=True))
    outside = {node.op_type for node in model.graph.node}
    assert {"Exp", "CumSum"} <= then, "what only the rows need"
    assert other == {"Constant"}
    assert "Sin" in outside
    assert "Sin" not in then
    assert not {"Exp", "CumSum"} & outside
    assert DOMAIN not in {node.domain for node in model.graph.node} | {opset.domain for opset in model.opset_import}
