"""Bags to runs: on the grid, with what says nothing true cut out and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taustack.bags.reader import decoded, open_bag
from taustack.bags.types import typestore
from taustack.bags.writer import BagTopic, BagWriter
from taustack.config import RobotConfig
from taustack.errors import BadInput
from taustack.models.dataset import Run
from taustack.models.from_bags import TO_LEARN, Harvest, runs_of
from taustack.retraining.data import gather

TRACK, SAFETY = "taustack_msgs/msg/Track", "taustack_msgs/msg/Safety"


@pytest.fixture(scope="module")
def bag(log_episodes: Callable[..., Path]) -> Path:
    return log_episodes("four", count=4, seed=9)


def harvested(paths: list[Path], robot: RobotConfig) -> tuple[list[Run], Harvest]:
    harvest = Harvest()
    return list(runs_of(paths, robot.name, robot.joint_names, robot.rates.control_dt, harvest)), harvest


def altered(source: Path, target: Path, change: object, about: dict[str, str] | None = None) -> Path:
    """A bag of the tracks of another one, each changed by `change(i, track)`; None leaves it out."""
    writer = BagWriter(target, [BagTopic(name="/track", type=TRACK), BagTopic(name="/safety", type=SAFETY)], about or {"robot": "panda"})
    for i, message in enumerate(open_bag(source).messages({"track"})):
        track = change(i, decoded(message))  # type: ignore[operator]
        if track is not None:
            writer.write("/track", bytes(typestore().serialize_cdr(track, TRACK)), message.log_ns, message.publish_ns, i)
    writer.close()
    return target


def test_runs_follow_the_model_of_the_reference_and_the_rows(bag: Path, robot: RobotConfig) -> None:
    """q_ref of the next step follows from q_ref, dq_ref and u (taustack.layout), within what a tick's jerk allows."""
    runs, harvest = harvested([bag], robot)
    assert len(runs) == 4
    assert harvest.minutes * 60 > 3
    for run in runs:
        n = robot.n
        np.testing.assert_array_equal(run.x[1:, 3 * n :], run.u)
        follows = run.x[:-1, 2 * n : 3 * n] + 0.01 * (run.x[:-1, 3 * n :] + run.u)
        np.testing.assert_allclose(run.x[1:, 2 * n : 3 * n], follows, atol=2e-3)


def test_joints_are_mapped_by_name(bag: Path, robot: RobotConfig, tmp_path: Path) -> None:
    order = np.roll(np.arange(robot.n), 3)

    def shuffle(_: int, track: object) -> object:
        track.name = [track.name[i] for i in order]  # type: ignore[attr-defined]
        for name in ("q", "dq", "q_ref", "dq_ref", "torque"):
            setattr(track, name, np.ascontiguousarray(getattr(track, name).reshape(-1, robot.n)[:, order].ravel()))
        return track

    ours, _ = harvested([bag], robot)
    theirs, _ = harvested([altered(bag, tmp_path / "shuffled", shuffle)], robot)
    np.testing.assert_array_equal(theirs[0].x, ours[0].x)


def test_gaps_nan_and_damping_cut_a_run_and_are_counted(bag: Path, robot: RobotConfig, tmp_path: Path) -> None:
    def spoil(i: int, track: object) -> object | None:
        if i == 4:
            return None
        if i == 13:
            track.q = np.array(track.q)  # type: ignore[attr-defined]
            track.q[7 * 20 : 7 * 30] = np.nan  # type: ignore[attr-defined]
        if i == 25:
            track.state = np.full_like(track.state, 4)  # type: ignore[attr-defined]
        return track

    runs, harvest = harvested([altered(bag, tmp_path / "spoilt", spoil)], robot)
    assert all(np.isfinite(run.x).all() for run in runs)
    assert harvest.cut_s["not finite"] == pytest.approx(0.018, abs=0.005)
    assert harvest.cut_s["damped or idle"] == pytest.approx(0.098, abs=0.01)
    whole, _ = harvested([bag], robot)
    assert sum(len(run.u) for run in runs) < sum(len(run.u) for run in whole) - 15


def test_a_cut_bag_gives_what_it_has_and_others_are_quarantined(bag: Path, robot: RobotConfig, tmp_path: Path) -> None:
    whole = next(bag.glob("*.mcap"))
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: int(0.7 * whole.stat().st_size)])
    other = altered(bag, tmp_path / "other", lambda _, track: track, {"robot": "somebody"})

    def rename(_: int, track: object) -> object:
        track.name[0] = "knee"  # type: ignore[attr-defined]
        return track

    strange = altered(bag, tmp_path / "strange", rename)
    runs, harvest = harvested([cut, tmp_path / "nowhere", other, strange], robot)
    assert 1 <= len(runs) < 4
    assert any("cut or altered" in note for note in harvest.notes)
    assert set(harvest.quarantined) == {str(tmp_path / "nowhere"), str(other), str(strange)}
    assert "a bag of somebody" in harvest.quarantined[str(other)]
    assert "knee" in harvest.quarantined[str(strange)]


def test_long_motion_is_cut_into_pieces_with_room_between_and_rest_is_left_out(robot: RobotConfig, tmp_path: Path) -> None:
    """A motion of 20 s, then 10 s of rest, written as the tracker's rows would be."""
    fine = np.arange(0.0, 30.0, 0.002)
    angle = np.minimum(fine, 20.0)[:, None] + np.arange(robot.n)
    q, dq = 0.3 * np.sin(angle), 0.3 * np.cos(angle) * (fine < 20.0)[:, None]
    rows = np.concatenate([q, dq, q, dq], axis=1)
    types = typestore().types
    writer = BagWriter(tmp_path / "long", [BagTopic(name="/track", type=TRACK)], {"robot": "panda"})
    for seq, first in enumerate(range(0, len(fine), 50)):
        part, at = rows[first : first + 50].astype(np.float32), fine[first : first + 50]
        q, dq, q_ref, dq_ref = (np.ascontiguousarray(part[:, 7 * i : 7 * i + 7]).ravel() for i in range(4))
        header = types["std_msgs/msg/Header"](stamp=types["builtin_interfaces/msg/Time"](sec=0, nanosec=0), frame_id="")
        track = types[TRACK](
            header=header, seq=seq, lost=0, name=list(robot.joint_names), t=at, tick=np.arange(first, first + len(at), dtype=np.uint64),
            epoch=np.zeros(len(at), np.uint32), state=np.full(len(at), 2, np.uint8), plan_seq=np.zeros(len(at), np.uint64), q=q, dq=dq, q_ref=q_ref,
            dq_ref=dq_ref, torque=0 * q, ee=np.zeros(3 * len(at), np.float32),
        )  # fmt: skip
        writer.write("/track", bytes(typestore().serialize_cdr(track, TRACK)), round(at[-1] * 1e9), round(at[-1] * 1e9), seq)
    writer.close()
    runs, harvest = harvested([tmp_path / "long"], robot)
    assert len(runs) == 4
    assert all(len(piece.u) * 0.02 <= TO_LEARN.piece_s for piece in runs)
    assert harvest.cut_s["at rest"] == pytest.approx(9.0, abs=0.3)


def test_too_little_and_too_still_are_named(bag: Path, robot: RobotConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"minutes: got 0\.\d+ in 4 run\(s\), expected at least 0.17 minutes"):
        gather([bag], robot)
    with pytest.raises(BadInput, match="no such folder"):
        gather([tmp_path / "nowhere"], robot)
