"""Plots and the video of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FRAME_HZ = 25
TRACE_HZ = 50
SIZE = (540, 960)  # rows, columns


def plot_run(folder: Path, goals: list[list[float]], results: list[dict[str, Any]]) -> None:
    """error.png: distance to the goal over time; plan_time.png: plan time over the run."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plots: matplotlib is missing (pip install 'taustack[video]')", flush=True)
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    trace = _trace(folder)
    goal, t = _goal_at(trace["t"], goals, results), trace["t"] - trace["t"][0]
    error = 1e3 * np.linalg.norm(trace["ee"] - goal, axis=1)
    figure, axes = plt.subplots(figsize=(9, 3.4), constrained_layout=True)
    axes.semilogy(t, np.maximum(error, 0.1), linewidth=1.2)
    axes.axhline(20, color="tab:red", linestyle="--", linewidth=0.8, label="tolerance 20 mm")
    axes.set(xlabel="time [s]", ylabel="distance to the goal [mm]")
    axes.legend()
    figure.savefig(folder / "error.png", dpi=120)
    plans = np.load(folder / "plans.npz", allow_pickle=False)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    left.plot(plans["t"] - plans["t"][0], plans["plan_ms"], ".", markersize=2)
    left.set(xlabel="time [s]", ylabel="plan time [ms]")
    right.hist(plans["plan_ms"], bins=60)
    right.set(xlabel="plan time [ms]", ylabel="plans", yscale="log")
    figure.savefig(folder / "plan_time.png", dpi=120)
    plt.close("all")


def render_video(folder: Path, robot_name: str, goals: list[list[float]], results: list[dict[str, Any]]) -> str:
    """Write video.mp4 of the trace; returns one line that says where it is, or why there is none."""
    try:
        import imageio_ffmpeg
        import mujoco
    except ImportError as error:
        return f"no video: {error.name} is missing (pip install 'taustack[video]')"
    from taustack.config import load_robot
    from taustack.sim.mjcf import compile_model, joint_addresses

    robot = load_robot(robot_name)
    model = compile_model(robot)
    model.vis.global_.offheight, model.vis.global_.offwidth = SIZE
    data = mujoco.MjData(model)
    try:
        renderer = mujoco.Renderer(model, *SIZE)
    except Exception as error:  # MuJoCo raises what the GL library raises
        return f"no video: no EGL or OSMesa for rendering ({type(error).__name__}); install libegl1 or libosmesa6, or set MUJOCO_GL"
    trace = _trace(folder)
    goal_at = _goal_at(trace["t"], goals, results)
    camera = mujoco.MjvCamera()
    camera.lookat[:], camera.distance, camera.azimuth, camera.elevation = (0.25, 0.0, 0.42), 1.75, 140.0, -16.0
    every = max(1, round(1 / (FRAME_HZ * float(np.median(np.diff(trace["t"]))))))
    qpos, _, _ = joint_addresses(model, robot)
    path = folder / "video.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (SIZE[1], SIZE[0]), fps=FRAME_HZ, macro_block_size=4, ffmpeg_log_level="error")
    writer.send(None)
    for i in range(0, len(trace["t"]), every):
        data.qpos[qpos] = trace["q"][i]
        mujoco.mj_forward(model, data)
        renderer.update_scene(data, camera)
        sphere = renderer.scene.geoms[renderer.scene.ngeom]
        colour = np.array([0.95, 0.35, 0.1, 0.9], dtype=np.float32)
        mujoco.mjv_initGeom(sphere, mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 0.025), goal_at[i], np.eye(3).ravel(), colour)
        renderer.scene.ngeom += 1
        writer.send(np.ascontiguousarray(renderer.render()))
    writer.close()
    renderer.close()
    return f"video          {path}"


def _trace(folder: Path) -> dict[str, np.ndarray]:
    """The plant's own record, thinned to 50 rows a second."""
    with np.load(folder / "plant.npz", allow_pickle=False) as stored:
        every = max(1, round(1 / (TRACE_HZ * float(np.median(np.diff(stored["t"]))))))
        return {name: stored[name][::every] for name in ("t", "q", "ee")}


def _goal_at(t: np.ndarray, goals: list[list[float]], results: list[dict[str, Any]]) -> np.ndarray:
    """The goal (T, 3) in force at each time, from the times at which the results came."""
    ends = np.array([result["at"] for result in results])
    index = np.minimum(np.searchsorted(ends, t), len(results) - 1)
    return np.array(goals)[index]
