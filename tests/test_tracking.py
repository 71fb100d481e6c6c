"""Trainings on record, in MLflow's own files, read back by MLflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from taustack.retraining.tracking import LOCAL, Record


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a training; nothing is said of a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return tmp_path / "work"


def record(work: Path, seed: int = 0) -> Record:
    return Record("arm", {"seed": seed, "base": "bundle"}, work)


def test_a_run_holds_parameters_curves_results_and_report(work: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<html>")
    run = record(work)
    for epoch in range(1, 31):
        run.epoch(epoch, {"train_nll": -epoch, "holdout_mse": 1 / epoch})
    run.end(False, {"candidate/open_loop_1_m": 0.002}, [report])
    client = MlflowClient((tmp_path / LOCAL).as_uri())
    experiment = client.get_experiment_by_name("arm")
    assert experiment is not None
    (stored,) = client.search_runs([experiment.experiment_id])
    assert stored.data.params == {"seed": "0", "base": "bundle"}
    assert stored.data.metrics == {"train_nll": -30.0, "holdout_mse": pytest.approx(1 / 30), "candidate/open_loop_1_m": 0.002}
    assert [point.step for point in client.get_metric_history(stored.info.run_id, "train_nll")] == [10, 20, 30]
    assert (stored.info.status, stored.data.tags["gate"]) == ("FAILED", "refused")
    assert [file.path for file in client.list_artifacts(stored.info.run_id)] == ["report.html"]


def test_a_training_that_goes_on_goes_on_with_its_run(work: Path, tmp_path: Path) -> None:
    """As long as it is the same training, and there is something to go on from."""
    record(work)
    record(work)
    (work / "checkpoint.pt").touch()
    record(work).epoch(10, {"train_nll": 1.0})
    record(work, seed=1)
    (work / "mlflow_run.json").write_text("{")
    record(work)
    client = MlflowClient((tmp_path / LOCAL).as_uri())
    experiment = client.get_experiment_by_name("arm")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    assert [run.data.params["seed"] for run in runs] == ["0", "0", "1", "0"]
    assert [bool(run.data.metrics) for run in runs] == [False, True, False, False]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "no-such-scheme://x"])
def test_a_server_that_cannot_be_had_is_said_once_and_holds_nothing_up(
    uri: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = record(work)
    run.epoch(10, {"train_nll": 1.0})
    run.end(True, {}, [])
    assert capsys.readouterr().err.count("not tracked") == 1
    assert not (work.parent / LOCAL).exists()


def test_without_mlflow_a_training_says_how_to_get_it(work: Path) -> None:
    code = """
import sys
from pathlib import Path
from taustack.retraining.tracking import Record
sys.modules["mlflow"] = None
Record("a", {}, Path("w")).end(True, {}, [])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=work.parent)
    assert done.stderr.strip() == "not tracked: mlflow is not installed (pip install 'taustack[track]')"
