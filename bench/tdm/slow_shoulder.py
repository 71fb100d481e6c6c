"""A robot with a slow and loaded shoulder, made and learned from nothing: `python bench/tdm/slow_shoulder.py panda --out data/slow`.

The robot's folder is copied, the velocity limits of its first joints are lowered, and a payload is put into its hand; then a bundle and a
temporal difference model of the joints are trained on it (a quarter of an hour of one core). What is learned knows which joints are slow
and how far the load sags; straight lines with one speed do not. Then: `python bench/subgoals.py OUT/robot behind --scenario OUT/loaded.yaml`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from taustack.config import load_robot

TAUSTACK = str(Path(sys.executable).with_name("taustack"))
LIMIT_FRACTION = 0.8  # of the limits that planner and tracker use: a loaded arm pulls a slow joint beyond its reference by a larger share of its limit


def slow_robot(name: str, joints: int, velocity: float, folder: Path) -> None:
    """Copy a robot's folder without bundles; its first joints [number] get a velocity limit [rad/s]."""
    robot = load_robot(name)
    shutil.copytree(robot.folder, folder, ignore=shutil.ignore_patterns("bundle*"), dirs_exist_ok=True)
    path = folder / "robot.yaml"
    data = yaml.safe_load(path.read_text())
    for joint in data["joints"][:joints]:
        joint["velocity"] = velocity
    data["limit_fraction"] = LIMIT_FRACTION
    path.write_text(yaml.safe_dump(data, sort_keys=False))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robot")
    parser.add_argument("--joints", type=int, default=2, help="how many, from the base")
    parser.add_argument("--velocity", type=float, default=0.6, help="their limit [rad/s]")
    parser.add_argument("--payload", type=float, default=1.5, help="in the hand [kg]")
    parser.add_argument("--steps", type=int, default=4000, help="of the temporal difference model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    robot, loaded, work = options.out / "robot", options.out / "loaded.yaml", options.out / "work"
    slow_robot(options.robot, options.joints, options.velocity, robot)
    loaded.write_text(yaml.safe_dump({"description": f"{options.payload:g} kg in the hand", "payload_kg": options.payload}))
    seed = ["--seed", str(options.seed)]
    for command in (
        ["train", "bundle", str(robot), "--scenario", str(loaded), "--out", str(robot / "bundle"), "--work", str(work), "--workers", "1", *seed],
        ["train", "tdm", str(robot), "--scenario", str(loaded), "--goal-space", "joint_positions", "--learner", "ddpg", "--steps", str(options.steps),
         "--evaluate-every", "2000", "--final-rates", "0.1", "--out", str(work / "tdm"), *seed],
        ["models", "join", str(robot / "bundle"), str(work / "tdm"), "--out", str(robot / "bundle")],
    ):  # fmt: skip
        subprocess.run([TAUSTACK, *command], check=True)
    print(f"python bench/subgoals.py {robot} behind --scenario {loaded}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
