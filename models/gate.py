"""The gate: rules as data, and the judgement over what was measured of a candidate and of the live bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from taustack.strict_yaml import StrictModel, load

RULES = Path(__file__).resolve().parent / "gate_rules.yaml"
WALK_RULES = RULES.with_name("walk_gate_rules.yaml")
Ratio = Annotated[float, Field(gt=0)]
Positive = Ratio
Share = Annotated[float, Field(ge=0, le=1)]
TINY = 1e-5  # open-loop errors [m or m/s] below this are the same


class RatioRule(StrictModel):
    """Candidate over live."""

    at_most: Ratio
    reason: str


class StepsRule(StrictModel):
    """Open-loop error after so many steps; H: the bundle's horizon."""

    steps: Annotated[int, Field(gt=0)] | Literal["H"]
    at_most: Ratio
    reason: str


class ClosedLoopRule(StrictModel):
    """Of each scenario of the suite."""

    success_at_least: Share
    success_drop: Share
    violations_more: Annotated[int, Field(ge=0)]
    falls_more: Share = 0.0
    """Of a robot on legs: share of episodes."""
    reason: str


class TDMRule(StrictModel):
    """Of the temporal difference model: errors of f on held-out runs, one step for any goal, and for goals that the robot reached in time."""

    one_step_most: Positive
    reached_most: Positive
    """[rad or m], of the joint that is furthest off."""
    at_most: Ratio
    claim: Ratio
    """Of the second one, where nothing but this model is new."""
    reason: str


class GateRules(StrictModel):
    """gate_rules.yaml."""

    open_loop: tuple[StepsRule, ...]
    worst_run: RatioRule
    each_joint: RatioRule
    claim: StepsRule
    closed_loop: ClosedLoopRule
    plan_time: RatioRule
    tdm: TDMRule = TDMRule(one_step_most=0.05, reached_most=0.15, at_most=1.1, claim=0.95, reason="subgoals that cannot be reached lead nowhere")


def load_rules(path: Path | None = None, own: Path = RULES) -> GateRules:
    """The rules of a file, or the stack's own: of an arm, or WALK_RULES."""
    return load(GateRules, path or own)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one bundle, open loop. error: by steps, of the end effector [m] or of a base's velocity [m/s]; run_error by held-out
    run and parts (of the joints [rad or m], or of that velocity) after H steps."""

    error: dict[int, float]
    run_error: dict[str, float]
    parts: list[float]
    suite: dict[str, dict[str, Any]]
    plan_ms: float
    tdm: dict[str, float] = field(default_factory=dict)
    """Errors of the temporal difference model by name [rad or m]; empty: the bundle has none."""
    tdm_sha256: str = ""
    dynamics_sha256: str = ""
    refused: str = ""
    """Why the bundle cannot be loaded; then the rest is empty."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One rule applied."""

    what: str
    candidate: float
    live: float
    limit: str
    passed: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Passed if every line did. unit: of the open-loop errors."""

    passed: bool
    lines: tuple[Line, ...]
    candidate: Measured
    live: Measured
    about: dict[str, Any] = field(default_factory=dict)
    unit: str = "m"

    def figures(self) -> dict[str, float]:
        """What was measured of both, by name."""
        out: dict[str, float] = {}
        for who, measured in (("candidate", self.candidate), ("live", self.live)):
            out |= {f"{who}/open_loop_{steps}_{self.unit.replace('/', '_')}": error for steps, error in measured.error.items()}
            out |= {f"{who}/success_{scenario}": float(metrics["success_rate"]) for scenario, metrics in measured.suite.items()}
            out[f"{who}/plan_ms"] = measured.plan_ms
        return out

    def as_data(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "passed": self.passed,
            **self.about,
            "lines": [asdict(line) for line in self.lines],
            "candidate": asdict(self.candidate),
            "live": asdict(self.live),
        }


def judge(rules: GateRules, candidate: Measured, live: Measured, horizon: int, parts: Mapping[str, str], about: dict[str, Any], unit: str = "m") -> Verdict:
    """Apply every rule; a measurement that is missing or not finite fails its line.

    Args:
        parts: units by name of `Measured.parts`.
        unit: of the open-loop errors.
    """
    if candidate.refused:
        line = Line(what="bundle", candidate=float("nan"), live=float("nan"), limit="loads", passed=False, reason=candidate.refused)
        return Verdict(passed=False, lines=(line,), candidate=candidate, live=live, about=about, unit=unit)
    lines = _of_tdm(rules.tdm, candidate, live)
    for steps_rule in (*rules.open_loop, *(() if _same_dynamics(candidate, live) else (rules.claim,))):
        steps = horizon if steps_rule.steps == "H" else steps_rule.steps
        what = f"open loop, {steps} step(s)" + (" (the claim)" if steps_rule is rules.claim else "") + f" [{unit}]"
        lines.append(_ratio(what, candidate.error.get(steps, float("nan")), live.error.get(steps, float("nan")), steps_rule, TINY))
    ratios = {run: error / max(TINY, live.run_error.get(run, float("nan"))) for run, error in candidate.run_error.items()}
    worst = max(ratios, key=lambda run: ratios[run], default="")
    ours, theirs = (measured.run_error.get(worst, float("nan")) for measured in (candidate, live))
    lines.append(_ratio(f"worst held-out run ({worst}) [{unit}]", ours, theirs, rules.worst_run, TINY))
    for (name, of), mine, before in zip(parts.items(), candidate.parts, live.parts, strict=True):
        lines.append(_ratio(f"{name} after {horizon} steps [{of}]", mine, before, rules.each_joint, TINY))
    for scenario, metrics in candidate.suite.items():
        lines += _closed_loop(rules.closed_loop, scenario, metrics, live.suite.get(scenario, {}))
    lines.append(_ratio("plan time [ms]", candidate.plan_ms, live.plan_ms, rules.plan_time, 0.01))
    return Verdict(passed=all(line.passed for line in lines), lines=tuple(lines), candidate=candidate, live=live, about=about, unit=unit)


def _same_dynamics(candidate: Measured, live: Measured) -> bool:
    """True where another part of the bundle makes the claim."""
    return candidate.tdm_sha256 != live.tdm_sha256 and candidate.dynamics_sha256 == live.dynamics_sha256 != ""


def _of_tdm(rule: TDMRule, candidate: Measured, live: Measured) -> list[Line]:
    """Lines on a new temporal difference model; what has none must not take one's place."""
    if candidate.tdm_sha256 == live.tdm_sha256:
        return []
    if not candidate.tdm_sha256:
        gone = Line(what="temporal difference model", candidate=0.0, live=1.0, limit="as many as live", passed=False, reason=rule.reason)
        return [gone]
    lines = []
    for name, most in (("one step", rule.one_step_most), ("reached", rule.reached_most)):
        ours, theirs = candidate.tdm.get(name, float("nan")), live.tdm.get(name, float("inf"))
        share = rule.claim if name == "reached" and _same_dynamics(candidate, live) else rule.at_most
        limit = min(most, share * theirs)
        what = f"temporal difference model, {name} [rad or m]"
        lines.append(Line(what=what, candidate=ours, live=theirs, limit=f"at most {limit:.3g}", passed=bool(ours <= limit), reason=rule.reason))
    return lines


def _ratio(what: str, candidate: float, live: float, rule: RatioRule | StepsRule, floor: float) -> Line:
    passed = candidate <= rule.at_most * max(live, floor)  # False for NaN
    return Line(what=what, candidate=candidate, live=live, limit=f"{rule.at_most:g} x live", passed=bool(passed), reason=rule.reason)


def _closed_loop(rule: ClosedLoopRule, scenario: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[Line]:
    success, before = float(ours["success_rate"]), float(theirs.get("success_rate", 0.0))
    least = max(rule.success_at_least, before - rule.success_drop)
    broken, allowed = int(ours["limit_violations"]), int(theirs.get("limit_violations", 0)) + rule.violations_more
    lines = [
        Line(what=f"success in {scenario}", candidate=success, live=before, limit=f"at least {least:g}", passed=success >= least, reason=rule.reason),
        Line(
            what=f"limit violations in {scenario}", candidate=broken, live=allowed - rule.violations_more, limit=f"at most {allowed}",
            passed=broken <= allowed, reason=rule.reason,
        ),
    ]  # fmt: skip
    if "falls" in ours:
        fell, most = float(ours["falls"]), float(theirs.get("falls", 0.0)) + rule.falls_more
        limit = f"at most {most:g}"
        lines.append(Line(what=f"falls in {scenario}", candidate=fell, live=most - rule.falls_more, limit=limit, passed=fell <= most, reason=rule.reason))
    return lines
