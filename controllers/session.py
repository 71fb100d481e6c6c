"""How a graph runs on the robot's CPU."""

from __future__ import annotations

from collections.abc import Mapping

import onnxruntime as ort


def cpu_session(graph: bytes, threads: int = 1) -> ort.InferenceSession:
    """A session that neither spins nor falls back. What onnxruntime raises for a graph that is none is of several unrelated types."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    session.disable_fallback()
    return session


class Sessions:
    """Sessions of a bundle's graphs, each made when it is first asked for. Any number of threads may run one at once.

    Args:
        graphs: by file name.
    """

    def __init__(self, graphs: Mapping[str, bytes]) -> None:
        self._graphs, self._made = graphs, dict[str, ort.InferenceSession]()

    def of(self, file: str) -> ort.InferenceSession:
        """The session of a graph, on one core, that neither spins nor falls back."""
        if file not in self._made:
            self._made[file] = cpu_session(self._graphs[file])
        return self._made[file]
