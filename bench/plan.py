"""Our plan step against pytorch_mppi and against the bare f32 matrix products: same network, cost and horizon, one interleaved run.

The network is an MLP 48 -> 256 -> 256 -> 36 that predicts the change of a 36-dimensional state from state and
12-dimensional action; the cost is quadratic. Ours is the plan step as one ONNX graph, its samples split over two
single-threaded sessions on two threads, as the controller does it. pytorch_mppi runs the same network under its own MPPI
with two threads. The matrix products are torch's, all of one rollout and nothing else, with two threads.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from taustack.cli.output import table, write_json

NX, NU, WIDTH, THREADS = 36, 12, 256, 2
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"tanh": nn.Tanh, "silu": nn.SiLU, "relu": nn.ReLU}
CASES = ((256, 30), (1024, 30))
NOISE_STD, TEMPERATURE = 0.3, 1.0
WARM, BLOCK = 4, 10  # calls a turn: torch's worker threads spin on after their last call, and whoever comes next must not pay for that


class Network(nn.Module):
    """Change of the state from state and action."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        make = ACTIVATIONS[activation]
        self.layers = nn.Sequential(nn.Linear(NX + NU, WIDTH), make(), nn.Linear(WIDTH, WIDTH), make(), nn.Linear(WIDTH, NX))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return x + 0.1 * self.layers(torch.cat([x, u], -1))


class PlanStep(nn.Module):
    """MPPI's update over the network, everything but the noise in the graph: the form of `taustack.models.plan_step`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mean: Tensor, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        u = torch.clip(mean.unsqueeze(1) + noise, -1.0, 1.0)
        state, states = x.expand(noise.shape[1], NX), []
        for u_t in u.unbind(0):
            state = self.network(state, u_t)
            states.append(state)
        path = torch.cat(states, -1)
        cost = (path * path).sum(-1) + 0.01 * (u * u).sum((0, 2))
        share = torch.softmax(-(cost - cost.min()) / temperature, 0)
        return (u * share[:, None]).sum(1), cost


def ours(network: Network, samples: int, horizon: int) -> Callable[[], None]:
    """One plan by two sessions on two threads."""
    shard = samples // THREADS
    args = (torch.ones(NX), torch.zeros(horizon, NU), torch.zeros(horizon, shard, NU), torch.tensor(TEMPERATURE))
    buffer = io.BytesIO()
    names = ("x", "mean", "noise", "temperature")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(PlanStep(network).eval(), args, dynamo=True, input_names=list(names), output_names=["mean_next", "cost"], verbose=False)
    assert program is not None
    program.save(buffer)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    sessions = [ort.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"]) for _ in range(THREADS)]
    pool, rng = ThreadPoolExecutor(THREADS - 1), np.random.default_rng(0)
    bank = (NOISE_STD * rng.standard_normal((horizon, 4 * samples, NU))).astype(np.float32)
    mean = np.zeros((horizon, NU), dtype=np.float32)
    x, temperature = np.ones(NX, dtype=np.float32), np.array(TEMPERATURE, dtype=np.float32)

    def plan() -> None:
        feeds = []
        for _ in sessions:
            at = int(rng.integers(3 * samples))
            feeds.append({"x": x, "mean": mean, "noise": np.ascontiguousarray(bank[:, at : at + shard]), "temperature": temperature})
        others = [pool.submit(s.run, None, f) for s, f in zip(sessions[1:], feeds[1:], strict=True)]
        outs = [sessions[0].run(None, feeds[0]), *(o.result() for o in others)]
        best = min(float(out[1].min()) for out in outs)
        mass = [np.exp(-(out[1] - best) / TEMPERATURE).sum() for out in outs]
        mean[:-1] = sum(m * out[0] for m, out in zip(mass, outs, strict=True))[1:] / sum(mass)

    return plan


def pytorch_mppi(network: Network, samples: int, horizon: int) -> Callable[[], None]:
    """One command by pytorch_mppi's MPPI."""
    from pytorch_mppi import MPPI

    controller = MPPI(
        lambda x, u: network(x, u), lambda x, u: (x * x).sum(-1) + 0.01 * (u * u).sum(-1), NX, NOISE_STD**2 * torch.eye(NU),
        num_samples=samples, horizon=horizon, lambda_=TEMPERATURE, u_min=-torch.ones(NU), u_max=torch.ones(NU),
    )  # fmt: skip
    x = torch.ones(NX)

    def plan() -> None:
        with torch.no_grad():
            controller.command(x)

    return plan


def products(samples: int, horizon: int) -> Callable[[], None]:
    """The matrix products of one rollout."""
    a, h, w1, w2, w3 = (torch.randn(s) for s in ((samples, NX + NU), (samples, WIDTH), (NX + NU, WIDTH), (WIDTH, WIDTH), (WIDTH, NX)))
    o1, o2, o3 = torch.empty(samples, WIDTH), torch.empty(samples, WIDTH), torch.empty(samples, NX)

    def multiply() -> None:
        with torch.no_grad():
            for _ in range(horizon):
                torch.mm(a, w1, out=o1)
                torch.mm(h, w2, out=o2)
                torch.mm(h, w3, out=o3)

    return multiply


def measure(repeats: int, activation: str) -> dict[str, Any]:
    """Interleaved in short turns, so that what else the machine does falls on all alike."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    network = Network(activation).eval()
    report: dict[str, Any] = {"activation": activation}
    for samples, horizon in CASES:
        calls = {"ours_ms": ours(network, samples, horizon), "pytorch_mppi_ms": pytorch_mppi(network, samples, horizon), "gemm_ms": products(samples, horizon)}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(-(-repeats // BLOCK)):
            for name, call in calls.items():
                for i in range(WARM + BLOCK):
                    started = time.perf_counter()
                    call()
                    if i >= WARM:
                        times[name].append(1e3 * (time.perf_counter() - started))
        entry: dict[str, Any] = {n: {"p50": float(np.median(t)), "p99": float(np.percentile(t, 99)), "max": float(np.max(t))} for n, t in times.items()}
        entry["ours_over_pytorch_mppi"] = entry["ours_ms"]["p50"] / entry["pytorch_mppi_ms"]["p50"]
        entry["ours_over_gemm"] = entry["ours_ms"]["p50"] / entry["gemm_ms"]["p50"]
        report[f"K{samples}_H{horizon}"] = entry
    return report


def main(repeats: int, json_path: Path | None, activation: str) -> int:
    """Measure, print, and write JSON if asked."""
    report = measure(repeats, activation)
    rows = [
        [case, name.removesuffix("_ms"), *(f"{entry[name][q]:.2f}" for q in ("p50", "p99", "max")), f"{entry['ours_ms']['p50'] / entry[name]['p50']:.2f}"]
        for case, entry in report.items()
        if case != "activation"
        for name in ("ours_ms", "pytorch_mppi_ms", "gemm_ms")
    ]
    print(table(["case", "what", "p50 [ms]", "p99 [ms]", "max [ms]", "ours / it"], rows))
    if json_path is not None:
        write_json(json_path, report)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=120)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--activation", choices=ACTIVATIONS, default="tanh")
    arguments = parser.parse_args()
    sys.exit(main(arguments.repeats, arguments.json, arguments.activation))
