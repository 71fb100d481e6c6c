"""What a tick of the tracker costs alone on a core: `python bench/tick.py`, with warm caches and with caches that something else has just filled,
as the planner does sixty times a second. Plans and signs of life come as in the graph. Compare two versions in turn, several times each:
the same one differs by a quarter from minute to minute on a machine that others share.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from taustack.config import load_robot
from taustack.controllers.plan import Plan
from taustack.controllers.tracker_process import TrackerProcess
from taustack.controllers.wire import Request, pack_plan, pack_request, writer
from taustack.realtime import freeze_garbage
from taustack.sim.arm_simulation import ArmSimulation
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.mjcf import compile_model
from taustack.sim.plant_process import PlantProcess
from taustack.sim.scenario import Scenario

PLAN_EVERY, REQUEST_EVERY = 8, 25  # ticks
WARM_UP = 200  # ticks
EVICTING = 6_000_000  # numbers: 48 MB, more than the last level of caches


def ticks(robot_name: str, count: int, evict: bool) -> dict[str, np.ndarray]:
    """CPU time [s] of each tick of an arm in motion: all, those with a new plan, those with nothing new."""
    robot, t, seq = load_robot(robot_name), 100.0, 0
    junk, took, kind = np.ones(EVICTING), np.zeros(count), np.zeros(count, dtype=int)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plant = PlantProcess(ArmSimulation(robot, Scenario()), folder)
        plant.step(t)
        tracker = TrackerProcess(robot, folder, keep_out_from_model(compile_model(robot), robot), lambda: t)
        tracker.hardware.wait(1.0)
        channels = {name: writer(folder, name) for name in ("request", "terminal", "supervisor", "plan")}
        freeze_garbage()
        for k in range(count):
            if k % REQUEST_EVERY == 0:
                kind[k] = 1
                for source in ("request", "terminal", "supervisor"):
                    channels[source].write(pack_request(Request(t=t)))
            if k % PLAN_EVERY == 0:
                seq, kind[k] = seq + 1, 2
                at = t + 0.02 + 0.02 * np.arange(1, 26)[:, None]
                actions = 0.3 * np.sin(2 * np.pi / 3 * at + np.arange(robot.n))
                epoch = tracker.core.tracker.epoch
                plan = Plan(seq=seq, state_seq=0, epoch=epoch, state_t=t, effective_t=t + 0.02, dt=0.02, actions=actions, states=np.zeros((0, 0)))
                channels["plan"].write(pack_plan(plan))
            if evict:
                junk.sum()
            before = tracker.work.counts.copy()
            tracker.tick()
            took[k] = tracker.work.bin_s * float(1 + np.argmax(tracker.work.counts - before))
            plant.step(t)
            t += tracker.core.tracker.dt
        state = tracker.core.tracker.state
        for channel in channels.values():
            channel.close()
        tracker.close()
        plant.close()
    assert state == "running", f"the arm is {state}: nothing was measured"
    took, kind = took[WARM_UP:], kind[WARM_UP:]
    return {"all": took, "with a plan": took[kind == 2], "nothing new": took[kind == 0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robot", nargs="?", default="panda")
    parser.add_argument("--ticks", type=int, default=6000)
    options = parser.parse_args()
    print("| caches | ticks | work p50 / p99 [us] |\n| --- | --- | --- |")
    for caches, evict in (("warm", False), ("emptied before each tick", True)):
        for name, took in ticks(options.robot, options.ticks, evict).items():
            p50, p99 = 1e6 * np.percentile(took, [50, 99])
            print(f"| {caches} | {name} | {p50:.0f} / {p99:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
