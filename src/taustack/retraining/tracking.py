"""A training run on record with MLflow. What cannot be recorded is said once and holds nothing up."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

LOCAL = "mlruns"
EVERY = 10  # epochs between two points of a curve
# A server that does not answer shall not hold up a training for minutes; who wants that sets them.
# Files need MLFLOW_ALLOW_FILE_STORE since 3.17; they need no server and no database.
DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_ALLOW_FILE_STORE": "true"}
RUN_FILE = "mlflow_run.json"


class Record:
    """One MLflow run: parameters at the start, curves while it trains, what it came to at the end.

    The server is that of `MLFLOW_TRACKING_URI`, else files under ./mlruns. A training that goes on after a kill goes on with its
    run: `work` keeps the run's name, and for which parameters.

    Args:
        experiment: name of the experiment, made if it is not there.
        parameters: of the training; another set of them is another run.
        work: folder of the training.
    """

    def __init__(self, experiment: str, parameters: Mapping[str, Any], work: Path) -> None:
        self._client: Any = None
        self._run, self._lost = "", False
        self._attempt(lambda: self._open(experiment, {k: str(v) for k, v in parameters.items()}, work))

    @staticmethod
    def _made(client: Any, experiment: str) -> str:
        """A new experiment, or the one that another process made meanwhile."""
        try:
            return str(client.create_experiment(experiment))
        except Exception:
            made = client.get_experiment_by_name(experiment)
            if made is None:
                raise
            return str(made.experiment_id)

    def _open(self, experiment: str, parameters: dict[str, str], work: Path) -> None:
        for key, value in DEFAULTS.items():
            os.environ.setdefault(key, value)
        from mlflow import MlflowClient  # seconds to import

        client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or Path(LOCAL).resolve().as_uri())
        found = client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._made(client, experiment)
        key = hashlib.sha256(json.dumps([experiment, parameters], sort_keys=True).encode()).hexdigest()
        self._run = self._known(work, key) or client.create_run(number, run_name=work.name).info.run_id
        self._client = client
        work.mkdir(parents=True, exist_ok=True)
        (work / RUN_FILE).write_text(json.dumps({"run": self._run, "of": key}))
        client.update_run(self._run, status="RUNNING")
        for name, value in parameters.items():
            client.log_param(self._run, name, value[:500])

    def _known(self, work: Path, key: str) -> str:
        try:
            kept = json.loads((work / RUN_FILE).read_text())
            return str(kept["run"]) if kept["of"] == key and (work / "checkpoint.pt").is_file() else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def epoch(self, epoch: int, curves: Mapping[str, float]) -> None:
        """A point of the curves, every EVERY epochs."""
        if epoch % EVERY == 0:
            self._attempt(lambda: [self._client.log_metric(self._run, name, value, step=epoch) for name, value in curves.items()])

    def end(self, passed: bool, results: Mapping[str, float], files: Sequence[Path]) -> None:
        """What it came to. A candidate that the gate refused is a run that failed, with the reasons in its report."""

        def write() -> None:
            for name, value in results.items():
                self._client.log_metric(self._run, name, value)
            for path in files:
                self._client.log_artifact(self._run, str(path))
            self._client.set_tag(self._run, "gate", "passed" if passed else "refused")
            self._client.set_terminated(self._run, status="FINISHED" if passed else "FAILED")

        self._attempt(write)

    def _attempt(self, act: Callable[[], Any]) -> None:
        """Do it, unless something failed before; a failure is said and ends the record."""
        if self._lost:
            return
        try:
            act()
        except Exception as error:  # whatever a server, a network or a full disk may raise: the training is worth more than its record
            self._lost = True
            missing = isinstance(error, ImportError)
            why = "mlflow is not installed (pip install 'taustack[track]')" if missing else " ".join(str(error).split())[:300]
            print(f"not tracked: {why}", file=sys.stderr, flush=True)
