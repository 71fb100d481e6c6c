"""A temporal difference model on the robot: what can be reached, how far it stays from the goal, and the action that leads there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import ValidationError

from taustack.controllers.session import cpu_session
from taustack.errors import BadInput, BundleRefused
from taustack.tdm_layout import INPUTS, METADATA, OUTPUTS, TDMContract

FloatArray = NDArray[np.float64]
SIZE_LIMIT_BYTES = 100_000_000


class TDM:
    """tdm.onnx on the CPU, one thread.

    Args:
        session: of the graph, whose hash the caller has checked.
        source: where it came from, for messages.

    Raises:
        BundleRefused: no contract in its metadata, or other inputs and outputs than the contract says.
    """

    def __init__(self, session: ort.InferenceSession, source: str | Path) -> None:
        self.source, self._session = str(source), session
        self.contract = self._read_contract()
        names = tuple(i.name for i in self._session.get_inputs()), tuple(o.name for o in self._session.get_outputs())
        if names != (INPUTS, OUTPUTS):
            raise BundleRefused(source, "inputs, outputs", f"{names}", f"{(INPUTS, OUTPUTS)}")

    def _read_contract(self) -> TDMContract:
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise BundleRefused(self.source, f"metadata.{METADATA}", "nothing", "the contract of a temporal difference model")
        try:
            return TDMContract.model_validate(json.loads(text))
        except (ValueError, ValidationError) as error:
            raise BundleRefused(self.source, f"metadata.{METADATA}", " ".join(str(error).split())[:200], "a valid contract") from None

    def reach(self, s: FloatArray, a: FloatArray, g: FloatArray, tau: FloatArray) -> tuple[FloatArray, FloatArray]:
        """f (B, quantiles, ng) and q (B, ng) of s (B, ns), a (B, na), g (B, ng) and tau (B,) in whole steps.

        Raises:
            BadInput: a wrong size, a value that is not finite, tau outside 0..tau_max.
        """
        f, q, _ = self._run(s, a, g, tau)
        return f, q

    def act(self, s: FloatArray, g: FloatArray, tau: FloatArray) -> FloatArray:
        """The policy's actions (B, na) at s (B, ns) for g (B, ng) with tau (B,) steps left after it. Raises as `reach`."""
        return self._run(s, np.zeros((len(s), self.contract.layout.sizes[2])), g, tau)[2]

    def known(self, g: FloatArray) -> NDArray[np.bool_]:
        """Which goals (B, ng) lie where training has been: of others it can only guess."""
        return np.asarray(((g >= self.contract.goal_low) & (g <= self.contract.goal_high)).all(-1))

    def _run(self, s: FloatArray, a: FloatArray, g: FloatArray, tau: FloatArray) -> list[FloatArray]:
        layout = self.contract.layout
        ns, ng, na = layout.sizes
        feed = {}
        for name, value, size in (("s", s, (len(s), ns)), ("a", a, (len(s), na)), ("g", g, (len(s), ng)), ("tau", tau, (len(s),))):
            array = np.asarray(value, np.float64)
            if array.shape != size:
                raise BadInput(self.source, name, f"shape {array.shape}", f"{size}")
            if not np.isfinite(array).all():
                raise BadInput(self.source, name, "NaN or infinite values", "finite ones")
            feed[name] = array.astype(np.float32)
        outside = (feed["tau"] < 0) | (feed["tau"] > layout.tau_max)
        if outside.any():
            raise BadInput(self.source, "tau", float(feed["tau"][outside][0]), f"0 to {layout.tau_max} steps of {layout.dt:g} s")
        return [np.asarray(out, np.float64) for out in self._session.run(None, feed)]


def read_tdm(path: Path) -> TDM:
    """Load a graph that is no part of a bundle: one's own training run.

    Raises:
        BundleRefused: missing, too large, or as in TDM.
    """
    if not path.is_file():
        raise BundleRefused(path, "", "no such file", "a tdm.onnx")
    if path.stat().st_size > SIZE_LIMIT_BYTES:
        raise BundleRefused(path, "", f"{path.stat().st_size} bytes", f"at most {SIZE_LIMIT_BYTES}")
    try:
        session = cpu_session(path.read_bytes())
    except Exception as error:  # onnxruntime has an exception of its own for each kind of broken graph
        raise BundleRefused(path, "", " ".join(str(error).split())[:150], "an ONNX graph") from None
    return TDM(session, path)
