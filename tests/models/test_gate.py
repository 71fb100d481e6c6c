"""The gate: a candidate must not be worse anywhere beyond its tolerance, and better where it claims to be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from taustack.errors import BadInput
from taustack.models.gate import Measured, Verdict, judge, load_rules
from taustack.retraining.report import as_page, failing

JOINTS = {f"joint{i}": "rad" for i in range(7)}


def measured(scale: float = 1.0, **changes: Any) -> Measured:
    values: dict[str, Any] = {
        "error": {1: 1e-3 * scale, 10: 5e-3 * scale, 25: 1e-2 * scale}, "run_error": {f"run {i}": 1e-2 * scale for i in range(4)},
        "parts": [1e-2 * scale] * 7, "suite": {"nominal": {"success_rate": 1.0, "limit_violations": 0}}, "plan_ms": 10.0,
    }  # fmt: skip
    return Measured(**(values | changes))


def verdict(candidate: Measured, live: Measured | None = None) -> Verdict:
    return judge(load_rules(), candidate, live or measured(), 25, JOINTS, {"robot": "r"})


def test_better_everywhere_passes() -> None:
    result = verdict(measured(0.5))
    assert result.passed
    assert failing(result) == []


def test_the_same_as_the_live_bundle_fails_its_claim_only() -> None:
    assert [line.split(":")[0] for line in failing(verdict(measured()))] == ["open loop, 25 step(s) (the claim) [m]"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"error": {1: 5e-4, 10: 2e-3, 25: 1.01e-2}}, "open loop, 25 step(s)"),  # better at one step, worse over H
        ({"error": {1: 2e-3, 10: 2e-3, 25: 5e-3}}, "open loop, 1 step(s)"),
        ({"error": {1: float("nan"), 10: 2e-3, 25: 5e-3}}, "open loop, 1 step(s)"),
        ({"error": {}}, "open loop, 1 step(s)"),
        ({"run_error": {"run 0": 1e-3, "run 1": 1e-3, "run 2": 1e-3, "run 3": 1.3e-2}}, "worst held-out run (run 3)"),  # overfit to some runs
        ({"parts": [5e-3] * 6 + [1.4e-2]}, "joint6 after 25 steps"),
        ({"suite": {"nominal": {"success_rate": 0.94, "limit_violations": 0}}}, "success in nominal"),
        ({"suite": {"nominal": {"success_rate": 1.0, "limit_violations": 1}}}, "limit violations in nominal"),
        ({"plan_ms": 20.0}, "plan time"),
    ],
)
def test_each_rule_refuses_by_itself(changes: dict[str, Any], line: str) -> None:
    result = verdict(dataclasses.replace(measured(0.5), **changes))
    assert not result.passed
    assert any(said.startswith(line) for said in failing(result)), failing(result)


def test_a_bundle_that_does_not_load_is_refused_with_its_reason() -> None:
    result = verdict(measured(refused="plan_mppi.onnx: sha256: got a, expected b"))
    assert not result.passed
    assert "plan_mppi.onnx: sha256" in failing(result)[0]
    assert "refused" in as_page(result)


def test_success_must_be_high_whatever_the_live_bundle_does() -> None:
    poor = measured(suite={"payload": {"success_rate": 0.5, "limit_violations": 9}})
    better = measured(0.5, suite={"payload": {"success_rate": 0.8, "limit_violations": 0}})
    assert [line.split(":")[0] for line in failing(verdict(better, poor))] == ["success in payload"]


def test_the_page_is_self_contained() -> None:
    page = as_page(verdict(measured(0.5)))
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert "it may be promoted" in page


def test_rules_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("open_loop: []\nlenient: true\n")
    with pytest.raises(BadInput, match=r"rules.yaml: (claim|lenient|worst_run|each_joint|closed_loop|plan_time)"):
        load_rules(path)


NEW_TDM = {"tdm": {"one step": 0.01, "reached": 0.02}, "tdm_sha256": "b" * 64, "dynamics_sha256": "d" * 64}
OLD_TDM = {"tdm": {"one step": 0.01, "reached": 0.03}, "tdm_sha256": "a" * 64, "dynamics_sha256": "d" * 64}


def test_a_new_temporal_difference_model_over_the_same_dynamics_makes_the_claim() -> None:
    result = verdict(measured(**NEW_TDM), measured(**OLD_TDM))
    assert result.passed
    assert not any("the claim" in line.what for line in result.lines)
    no_better = measured(**(NEW_TDM | {"tdm": {"one step": 0.01, "reached": 0.0295}}))
    assert [line.split(":")[0] for line in failing(verdict(no_better, measured(**OLD_TDM)))] == ["temporal difference model, reached [rad or m]"]


@pytest.mark.parametrize(
    ("tdm", "line"),
    [
        ({"one step": 0.2, "reached": 0.01}, "one step"),  # another robot, a joint's sign
        ({"one step": 0.01, "reached": 0.5}, "reached"),  # shuffled labels
        ({"one step": float("nan"), "reached": 0.01}, "one step"),
        ({}, "one step"),
    ],
)
def test_a_bad_temporal_difference_model_is_refused_whether_or_not_the_live_bundle_has_one(tdm: dict[str, float], line: str) -> None:
    for live in (measured(), measured(**OLD_TDM)):
        lines = failing(verdict(measured(0.5, **(NEW_TDM | {"tdm": tdm, "dynamics_sha256": "e" * 64})), live))
        assert any(line in said for said in lines)


def test_a_candidate_must_not_take_the_live_model_away_and_what_is_taken_along_is_not_on_trial() -> None:
    assert failing(verdict(measured(0.5), measured(**OLD_TDM)))[0].startswith("temporal difference model:")
    bad = OLD_TDM | {"tdm": {"one step": 9.0, "reached": 9.0}}
    assert verdict(measured(0.5, **(bad | {"dynamics_sha256": "e" * 64})), measured(**bad)).passed
