"""A strip of pictures of one walk: `MUJOCO_GL=egl python tools/film_strip.py go2 goal docs/images/walk.png --scenario steps`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from taustack.cli.walk_video import frames
from taustack.legged import load_legged
from taustack.sim.legged_evaluate import WalkSpec, walk
from taustack.sim.legged_scenario import load_legged_scenario

PICTURES, CROP = 4, slice(100, 620)


def main() -> None:
    import matplotlib.image

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot")
    parser.add_argument("task")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenario", default="nominal")
    parser.add_argument("--planner", default="mppi")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--between", type=float, nargs=2, default=(0.0, 1.0), help="shares of the episode")
    options = parser.parse_args()
    robot = load_legged(options.robot)
    about = {"task": options.task, "scenario": options.scenario, "planner": options.planner, "seed": options.seed}
    done = walk(WalkSpec(robot=robot.folder, bundle=robot.folder / "bundle", index=0, **about))
    pictures = list(frames(robot, load_legged_scenario(options.scenario), done))
    first, last = (int(share * (len(pictures) - 1)) for share in options.between)
    strip = np.hstack([pictures[i][:, CROP] for i in np.linspace(first, last, PICTURES).astype(int)])
    matplotlib.image.imsave(options.out, strip[::2, ::2])


if __name__ == "__main__":
    main()
