"""A walk under faults, in lockstep: the robot's own tracker and law or planner; the judge is the plant's state."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.base_state import ImuSample
from taustack.controllers.following import Transition
from taustack.controllers.leg_wire import LegCommand
from taustack.controllers.plan import Plan
from taustack.controllers.walk_laws import WalkLaw
from taustack.controllers.walk_mppi import WalkMPPI
from taustack.controllers.walk_state import WalkState
from taustack.controllers.walk_tracker import WalkTracker
from taustack.errors import PlanFailed
from taustack.layout import State
from taustack.legged import LeggedConfig
from taustack.legged_layout import NU
from taustack.sim.fault_plans import SILENT, PlansUnderWay
from taustack.sim.fault_schedule import Schedule
from taustack.sim.faults import Fault
from taustack.sim.faulty_sensor import FaultySensor
from taustack.sim.leg_simulation import LegSimulation
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_scenario import LeggedScenario

FloatArray = NDArray[np.float64]
DRAIN = 0.03  # a delay that ends leaves a queue, which empties by this much faster than the commands come
STOPS_GIVE = 0.05  # [rad] by which a joint's stops give
TOLERANCE = 1e-6
FALLS_S = 0.5  # from where a fall begins until the robot counts as fallen
LATE_TO_DAMP_S = 1.1  # after a fall, until the joints must be damped: what is blind is damped after a second
STOPS_S = 1.0  # that strides take to end
WANDERS, STIRS = 0.1, 0.5  # [m/s] of the base, [rad/s] of a joint: more is no safe end of a robot that is to stand or to lie


@dataclass(frozen=True, kw_only=True)
class LegFaultRun:
    """What happened. position (T, 3), q, dq (T, n): the plant's, once a tick. fell_at [s]: when it fell over with its joints not damped, or None."""

    t: FloatArray
    position: FloatArray
    q: FloatArray
    dq: FloatArray
    states: list[State]
    journal: list[Transition]
    violations: dict[str, int]
    impacts: int
    self_stopped: NDArray[np.bool_]
    fell_at: float | None
    dropped: dict[str, int]
    final_state: State
    final_reason: str
    unsafe_end: str | None


class LegJudge:
    """Counts what breaks a limit, tick by tick: commands at the plant's input, torques, and joints of a robot that is on its feet.

    The joints of a robot that falls (from FALLS_S before it counts as fallen), lies, or whose motor is dead, are thrown against stops and floor
    by its weight: such ticks are counted apart, in `impacts`.
    """

    def __init__(self, robot: LeggedConfig) -> None:
        self.robot, self.count, self.impacts = robot, dict.fromkeys(("command", "torque", "position", "velocity"), 0), 0
        self._recent: deque[tuple[float, str]] = deque()
        self._velocity, self._torque = (robot.of_joints(what) * (1 + TOLERANCE) for what in ("velocity", "torque"))

    def command(self, command: LegCommand) -> None:
        """Judge what arrives at the plant's input."""
        low, high = self.robot.q_min - TOLERANCE, self.robot.q_max + TOLERANCE
        right = ((low <= command.q) & (command.q <= high) & (np.abs(command.dq) <= self._velocity) & (np.abs(command.torque) <= self._torque)).all()
        self.count["command"] += not (command.damped or right)

    def look(self, plant: LeggedPlant, *, helpless: bool) -> None:
        """Judge the plant; helpless: it lies, is damped, or a motor is dead."""
        q, dq = plant.joints()
        self.count["torque"] += bool((np.abs(plant.torque) > self._torque).any())
        outside = bool(((q < self.robot.q_min - STOPS_GIVE) | (q > self.robot.q_max + STOPS_GIVE)).any())
        fast = bool((np.abs(dq) > self._velocity).any())
        t = float(plant.data.time)
        if helpless:
            self.impacts += outside or fast
            while plant.fallen and self._recent and t - self._recent[-1][0] < FALLS_S:  # it fell already
                self.count[self._recent.pop()[1]] -= 1
                self.impacts += 1
            return
        for what in [name for name, broken in (("position", outside), ("velocity", fast)) if broken]:
            self.count[what] += 1
            self._recent.append((t, what))


class FaultyLegs:
    """A simulated robot on legs whose sensors, motors and buttons fail on schedule, with its own watchdog.

    Args:
        robot, scenario: what is simulated.
        faults: what goes wrong; times count from the plant's time 0.
        seed: of the sensors' noise.
    """

    def __init__(self, robot: LeggedConfig, scenario: LeggedScenario, faults: Sequence[Fault], seed: int) -> None:
        self.robot, self.faults = robot, tuple(faults)
        self.simulation = LegSimulation(robot, scenario, seed)
        self.plant = self.simulation.plant
        rng = np.random.default_rng([seed, 77])
        self._sensor: FaultySensor[ImuSample] = FaultySensor(faults, rng, self.plant.dt, robot.rates.tracker_hz)
        self._kicked: set[int] = set()

    @property
    def estop_pressed(self) -> bool:
        """Whether its own button is pressed."""
        return any(fault.kind == "estop_of_robot" and fault.active(self.plant.data.time) for fault in self.faults)

    @property
    def damped(self) -> bool:
        """Whether nothing is followed, as told or by itself."""
        return self.simulation.self_stop.damped or self.simulation.self_stop.stopped

    def read(self) -> ImuSample:
        """Newest measurement, as the sensors that fail show it."""
        now = float(self.plant.data.time)
        sample = self._sensor.spoilt(self.plant.read(), now)
        for fault in self.faults:
            if fault.kind in ("imu_nan", "imu_biased") and fault.active(now):
                gyro = sample.gyro.copy()
                gyro[fault.joint % len(gyro)] += np.nan if fault.kind == "imu_nan" else fault.strength
                sample = sample._replace(gyro=gyro)
        return sample

    def advance(self) -> None:
        """A tick of the plant, with what its motors and its surroundings suffer."""
        plant, t = self.plant, float(self.plant.data.time)
        plant.strength[:], plant.push[:] = 1.0, 0.0
        delay_s = plant.scenario.delay_s
        for i, fault in enumerate(self.faults):
            if not fault.active(t):
                continue
            if fault.kind == "actuator_saturated":
                plant.strength *= fault.strength
            elif fault.kind == "joint_dead":
                plant.strength[fault.joint] = 0.0
            elif fault.kind == "actuator_delayed":
                delay_s += fault.strength
            elif fault.kind == "pushed":
                plant.push[1] += fault.strength
            elif fault.kind == "kicked" and i not in self._kicked:
                self._kicked.add(i)
                plant.kick(np.array([0.0, fault.strength, 0.0]))
            elif fault.kind == "payload_dropped" and plant.scenario.payload_kg:
                plant.drop_payload()
        plant.delay_s = max(delay_s, plant.delay_s - DRAIN * self.simulation.period_s)
        self.simulation.advance(t + self.simulation.period_s)


class LegFaultRig:
    """Everything of a run; `run` goes through it tick by tick.

    Args:
        robot, scenario, seed: see FaultyLegs.
        law: walks, or plans walks.
        wanted: velocity (3,) that is asked for from the start.
        faults: what goes wrong.
    """

    def __init__(self, robot: LeggedConfig, scenario: LeggedScenario, law: WalkLaw, wanted: FloatArray, faults: Sequence[Fault], seed: int) -> None:
        self.robot, self.law, self.wanted, self.faults = robot, law, wanted, tuple(faults)
        self.legs = FaultyLegs(robot, scenario, faults, seed)
        self.tracker = WalkTracker(robot)
        self.judge = LegJudge(robot)
        self.schedule = Schedule(faults, robot.safety.bridge_timeout_s)
        self._plans = PlansUnderWay(self.schedule, np.array([*robot.gait.velocity, robot.gait.landing, robot.gait.landing]))
        self._dead = any(fault.kind == "joint_dead" for fault in faults)
        self._dt, self._seq, self._now = self.tracker.dt, 0, 0.0
        self._fell_at: float | None = None
        self._lay_s = 0.0

    def run(self, seconds: float) -> LegFaultRun:
        """Plan, tick, step, judge."""
        per_plan = round(self.robot.rates.tracker_hz / self.robot.rates.plan_hz)
        rows: list[tuple[float, FloatArray, FloatArray, FloatArray, bool]] = []
        states: list[State] = []
        plant, following, worst_s = self.legs.plant, self.tracker.following, 0.0
        for tick in range(round(seconds / self._dt)):
            now = self._now = tick * self._dt
            if tick % per_plan == 0:
                self._plan(now)
            for plan in self._plans.due(now):
                self.tracker.offer(plan, now)
            if self.schedule.ticks(tick, now):
                self._tick(now)
            self.legs.advance()
            self.judge.look(plant, helpless=self._dead or plant.fallen or self.legs.damped or self._fell_at is not None)
            worst_s = max(worst_s, self._lies(now))
            q, dq = plant.joints()
            rows.append((float(plant.data.time), plant.truth().position, q.copy(), dq.copy(), self.legs.simulation.self_stop.stopped))
            states.append(following.state)
        t, position, q, dq, stopped = (np.array(column) for column in zip(*rows, strict=True))
        return LegFaultRun(
            t=t, position=position, q=q, dq=dq, states=states, journal=list(following.journal), violations=self.judge.count, impacts=self.judge.impacts,
            self_stopped=stopped, fell_at=self._fell_at, dropped=dict(Counter(following.dropped)), final_state=following.state,
            final_reason=following.reason, unsafe_end=self._unsafe(worst_s),
        )  # fmt: skip

    def _tick(self, now: float) -> None:
        """A tick of the tracker, and what it sends."""
        signals = self.schedule.signals(now).heard("the robot", self.legs.estop_pressed, self.legs.simulation.self_stop.stopped)
        targets = self.tracker.step(now, self.legs.read(), signals)
        if targets is None and self.tracker.following.state != "damped":
            return  # in idle the robot's own safe action stands
        nothing = np.zeros(self.robot.n)
        if targets is None:
            command = LegCommand(t=now, damped=True, q=nothing, dq=nothing, torque=nothing)
        else:
            command = LegCommand(t=now, damped=False, q=targets.q, dq=targets.dq, torque=targets.torque)
        self.judge.command(command)
        self.legs.simulation.take(command)

    def _plan(self, now: float) -> None:
        """One plan, sent on its way."""
        state = self.tracker.state
        if state is None or self.schedule.active(now, *SILENT):
            return
        if self.tracker.following.active is None:
            self.law.reset()  # what it planned is not followed
        wanted = -self.wanted if self.schedule.active(now, "goal_jumps") and int(2 * now) % 2 else self.wanted
        try:
            plan = self._made(state, wanted)
        except PlanFailed:
            return
        self._plans.send(plan._replace(epoch=self.tracker.following.epoch), now)

    def _made(self, state: WalkState, wanted: FloatArray) -> Plan:
        """A plan of MPPI, or of a law: the same command for all of its steps."""
        if isinstance(self.law, WalkMPPI):
            return self.law.plan(state, wanted)
        self._seq += 1
        command, step = self.law.command(wanted, state), 1.0 / self.robot.rates.plan_hz
        actions = np.tile(np.concatenate([command.velocity, command.landing]), (25, 1)).reshape(-1, NU)
        return Plan(seq=self._seq, state_seq=0, epoch=0, state_t=state.t, effective_t=state.t + 2 * step, dt=step, actions=actions, states=np.zeros((0, 0)))

    def _lies(self, now: float) -> float:
        """Note a fall; for how long the robot has lain with its joints not damped [s]."""
        up = self.legs.plant.fallen and not self.legs.damped
        if up and self._fell_at is None:
            self._fell_at = now
        self._lay_s = self._lay_s + self._dt if up else 0.0
        return self._lay_s

    def _unsafe(self, worst_s: float) -> str | None:
        """Why the run did not end safely, or None."""
        plant, state = self.legs.plant, self.tracker.following.state
        if worst_s > LATE_TO_DAMP_S:
            return f"lay for {worst_s:.2f} s with its joints not damped"
        journal = self.tracker.following.journal
        if (state == "running" and not self.legs.damped) or (journal and self._now - journal[-1].t < STOPS_S):
            return None
        speed, joint = float(np.linalg.norm(plant.truth().velocity)), float(np.abs(plant.joints()[1]).max())
        return f"moves at {speed:.2f} m/s, {joint:.2f} rad/s in state {state}" if speed > WANDERS or joint > STIRS else None
