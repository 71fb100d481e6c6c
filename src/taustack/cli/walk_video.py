"""A film of a walk: the robot by the simulator's truth, its goal, pushes as they come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taustack.errors import TaustackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from taustack.legged import LeggedConfig
    from taustack.sim.legged_episode import WalkEpisode
    from taustack.sim.legged_scenario import LeggedScenario

HEIGHT, WIDTH, FRAME_HZ = 480, 720, 25
GOAL_COLOUR = (0.95, 0.35, 0.1, 0.9)


def frames(robot: LeggedConfig, scenario: LeggedScenario, episode: WalkEpisode) -> Iterator[NDArray[np.uint8]]:
    """Pictures (HEIGHT, WIDTH, 3) of an episode, FRAME_HZ a second.

    Raises:
        TaustackError: this machine cannot render.
    """
    import mujoco

    model = scenario.model(robot)
    model.vis.global_.offwidth, model.vis.global_.offheight = WIDTH, HEIGHT  # a published model may have a smaller picture in mind
    data, camera = mujoco.MjData(model), mujoco.MjvCamera()
    try:
        renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
    except Exception as error:  # MuJoCo raises what the GL library raises
        raise TaustackError(f"no EGL or OSMesa for rendering ({type(error).__name__}); install libegl1 or libosmesa6, or set MUJOCO_GL") from None
    camera.distance, camera.azimuth, camera.elevation = 2.2, 120.0, -18.0
    for row in episode.rows[:: max(1, round(robot.rates.plan_hz / FRAME_HZ))]:
        data.qpos[:] = row.qpos
        mujoco.mj_forward(model, data)
        camera.lookat[:] = [*row.position[:2], 0.2]
        renderer.update_scene(data, camera)
        if episode.course.goal.size:
            ball = renderer.scene.geoms[renderer.scene.ngeom]
            place = np.array([*episode.course.goal, scenario.floor_height(np.append(episode.course.goal, 0.0)) + 0.06])
            colour = np.array(GOAL_COLOUR, dtype=np.float32)
            mujoco.mjv_initGeom(ball, mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 0.06), place, np.eye(3).ravel(), colour)
            renderer.scene.ngeom += 1
        yield renderer.render()
    renderer.close()


def write_video(path: Path, robot: LeggedConfig, scenario: LeggedScenario, episode: WalkEpisode) -> None:
    """Write an MP4 of an episode.

    Raises:
        TaustackError: a package or what renders is missing.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise TaustackError(f"no video: {error.name} is missing (pip install 'taustack[video]')") from None
    writer = imageio_ffmpeg.write_frames(str(path), (WIDTH, HEIGHT), fps=FRAME_HZ, macro_block_size=4, ffmpeg_log_level="error")
    writer.send(None)
    for picture in frames(robot, scenario, episode):
        writer.send(np.ascontiguousarray(picture))
    writer.close()
