"""The page: a scene with robot, plan and goal, and a panel with state, buttons, costs and disagreement."""

from __future__ import annotations

import socket
import time

import mujoco
import numpy as np
import viser
from numpy.typing import NDArray
from viser import uplot

from taustack.errors import BadInput
from taustack.view.looks import Commands, Look, Planned, Status
from taustack.view.parts import parts_of

FloatArray = NDArray[np.float64]
PLAN, SAMPLES, WORD = (225, 87, 30), (120, 160, 220), (60, 60, 60)
PANEL_EVERY_S, PATHS_EVERY_S = 0.2, 0.1
STALE_S = 0.5  # without a state for this long the page says so
MOVED = 1e-5
FROM = np.array([0.4, -1.8, 1.0])
"""Where one looks from first, from the middle between robot and goal [m]."""
HELP = "Drag the arrows to a goal, then **Go**."


class Page:
    """See the module. `show` is called for each frame, by one thread.

    Args:
        model: of the robot.
        goal: where the handle of the goal begins (3,) [m].
        on_floor: goals are places on the floor.
        commands: what the buttons do.
        host, port: where it is served.

    Raises:
        BadInput: the port is taken.
    """

    def __init__(self, model: mujoco.MjModel, goal: FloatArray, commands: Commands, host: str, port: int, *, on_floor: bool) -> None:
        require_free(host, port)
        self.model, self.data, self._commands = model, mujoco.MjData(model), commands
        self.server = viser.ViserServer(host=host, port=port, label="taustack", verbose=False)
        self.frames = 0
        self._panel_at = self._paths_at = -np.inf
        self._draw_scene(goal, on_floor=on_floor)
        self._draw_panel()
        self.offer(goal, goal)

    @property
    def watched(self) -> bool:
        """Whether a browser is there."""
        return bool(self.server.get_clients())

    def offer(self, goal: FloatArray, robot: FloatArray) -> None:
        """Put the handle of the goal at a place (3,), and those who open the page from now on before it and the robot (3,) [m]."""
        self._goal.position = tuple(goal)
        camera, middle = self.server.initial_camera, 0.5 * (goal + robot)
        camera.position, camera.look_at = middle + FROM, middle

    def show(self, look: Look) -> None:
        """The next frame. With nobody there nothing is drawn."""
        if not self.watched:
            return
        now = time.monotonic()
        with self.server.atomic():
            if look.qpos is not None:
                self._pose(look.qpos)
            if now - self._paths_at > PATHS_EVERY_S:
                self._paths_at = now
                self._paths(look.planned)
            if now - self._panel_at > PANEL_EVERY_S:
                self._panel_at = now
                self._tell(look.status, look.planned)
        self.frames += 1

    def close(self) -> None:
        """The page is gone."""
        self.server.stop()

    def _draw_scene(self, goal: FloatArray, *, on_floor: bool) -> None:
        scene = self.server.scene
        scene.set_up_direction("+z")
        scene.configure_default_lights(cast_shadow=False)  # a page is looked at on machines without a graphics card, too
        scene.configure_environment_map(None)
        scene.add_grid("/floor", width=20.0, height=20.0, cell_size=0.5, section_size=1.0, shadow_opacity=0.0)
        self._bodies = {}
        for part in parts_of(self.model):
            name = f"/robot/{self.model.body(part.body).name or part.body}"
            self._bodies[part.body] = scene.add_frame(name, show_axes=False)
            scene.add_mesh_trimesh(f"{name}/mesh", part.mesh, cast_shadow=False, receive_shadow=False)
        self._path = scene.add_line_segments("/plan", np.zeros((1, 2, 3)), PLAN, thickness=3.0, thickness_units="screen")
        self._samples = scene.add_line_segments("/samples", np.zeros((1, 2, 3)), SAMPLES, thickness=1.0, thickness_units="screen")
        self._goal = scene.add_transform_controls(
            "/goal", scale=0.3 if on_floor else 0.15, position=tuple(goal), disable_rotations=True, active_axes=(True, True, not on_floor)
        )
        scene.add_icosphere("/goal/ball", radius=0.02, color=(40, 170, 90))

    def _draw_panel(self) -> None:
        gui = self.server.gui
        gui.configure_theme(control_width="large", show_share_button=False)
        estop = gui.add_button("E-STOP", color="red", hint="latched: nothing moves until it is reset")
        estop.on_click(lambda _: self._commands.press_estop())
        self._status = gui.add_markdown("waiting for the robot")
        go = gui.add_button("Go", color="green", hint="to where the arrows are")
        go.on_click(lambda _: self._commands.go_to(np.array(self._goal.position, dtype=float)))
        gui.add_button("Give up the goal").on_click(lambda _: self._commands.cancel())
        gui.add_button("Reset e-stop").on_click(lambda _: self._commands.reset_estop())
        gui.add_markdown(HELP)
        with gui.add_folder("Plan"):
            self._costs = gui.add_markdown("no plan yet")
            self._disagreement = gui.add_uplot(
                data=(np.arange(2.0), np.zeros(2)), series=(uplot.Series(label="step"), uplot.Series(label="disagreement", stroke="#e1571e", width=2)),
                title="disagreement along the plan", aspect=2.0,
            )  # fmt: skip

    def _pose(self, qpos: FloatArray) -> None:
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self.data)
        for body, frame in self._bodies.items():
            position, wxyz = self.data.xpos[body], self.data.xquat[body]
            if np.abs(position - frame.position).max() > MOVED or np.abs(wxyz - frame.wxyz).max() > MOVED:
                frame.position, frame.wxyz = position.copy(), wxyz.copy()

    def _paths(self, planned: Planned | None) -> None:
        for handle, paths in ((self._path, planned.path[None] if planned else None), (self._samples, planned.samples if planned else None)):
            there = paths is not None and paths.shape[0] > 0 and paths.shape[1] > 1
            if there:
                assert paths is not None
                handle.points = np.stack([paths[:, :-1], paths[:, 1:]], axis=2).reshape(-1, 2, 3).astype(np.float32)
            if handle.visible != there:
                handle.visible = there

    def _tell(self, status: Status, planned: Planned | None) -> None:
        estop = " **E-STOP**" if status.estop else ""
        age = "no state yet" if not np.isfinite(status.state_age_s) else f"**no state for {status.state_age_s:.1f} s**"
        lines = [f"### {status.mode}{estop}", status.reason, "" if status.state_age_s < STALE_S else age, status.said]
        if planned is not None:
            lines.append(f"{status.plan_hz:.0f} plans/s by {planned.planner}, {1e3 * planned.plan_time_s:.1f} ms each")
        self._say(self._status, "\n\n".join(line for line in lines if line))
        if planned is None:
            return
        rows = "\n".join(f"| {name} | {value:.3g} |" for name, value in planned.cost.items())
        self._say(self._costs, f"| cost term | weighted |\n| --- | ---: |\n{rows}" if rows else "a plan without costs")
        if len(planned.disagreement) > 1:
            self._disagreement.data = (np.arange(len(planned.disagreement), dtype=float), planned.disagreement)

    @staticmethod
    def _say(handle: viser.GuiMarkdownHandle, text: str) -> None:
        if handle.content != text:
            handle.content = text


def require_free(host: str, port: int) -> None:
    """Raises BadInput if nothing can be served there: viser would quietly take another port."""
    if not 1 <= port <= 65535:
        raise BadInput("argument", "--port", port, "1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput("argument", "--port", port, f"a free port of {host}: {error.strerror}") from None
