"""How a graph runs on the robot's CPU."""

from __future__ import annotations

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
