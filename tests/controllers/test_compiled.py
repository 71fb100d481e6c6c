"""What a tick has compiled computes what its Python says, refuses what it was not compiled for, and never compiles on the way."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numba import config
from numba.core.registry import CPUDispatcher

from taustack.config import RobotConfig
from taustack.controllers import filter_step, keep_out, load, monitors, plan_gate, reference
from taustack.controllers.load import LoadEstimate
from taustack.controllers.monitors import OverloadMonitor, SensorMonitor, finite
from taustack.controllers.plan import Plan
from taustack.controllers.plan_gate import velocity_of
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.layout import RobotState
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.plant import MujocoPlant

DT = 0.002
as_machine_code = pytest.mark.skipif(config.DISABLE_JIT, reason="the compiler is switched off")
MODULES = (filter_step, keep_out, load, monitors, plan_gate, reference)


def walk(robot: RobotConfig, ticks: int) -> list[np.ndarray]:
    """Rows of what filter, load estimate and monitors make of wild velocities and of a robot that follows with noise."""
    rng = np.random.default_rng(7)
    watched = SafetyFilter(robot, DT, keep_out_from_model(MujocoPlant(robot).nominal, robot))
    at, estimate, sensors, overload = Reference.at_rest(robot.home), LoadEstimate(robot, DT), SensorMonitor(robot), OverloadMonitor(robot, DT)
    rows, wanted = [], np.zeros(robot.n)
    for tick in range(ticks):
        if tick % 50 == 0:
            wanted = rng.uniform(-3, 3, robot.n) * rng.choice([0.1, 1.0])
        q = at.q + rng.normal(0, 1e-3, robot.n) + (tick % 97 == 0) * 0.4
        state = RobotState(t=tick * DT, q=q, dq=at.dq, q_ref=at.q, dq_ref=at.dq, torque=0 * q, ee=np.zeros(3))
        said = (sensors.look(state, tick * DT, at.dq) or "", overload.look(*(seen := estimate.look(at, q, at.dq)[:2])) or "")
        at, acted = watched.step(at, wanted, 0 * wanted, seen[0] if tick % 2 else None)
        estimate.remember(at)
        watched.look_ahead(at)
        heard = np.array([len(text) for text in said] + [len(acted), sum(acted.values())])
        rows.append(np.concatenate([at.q, at.dq, at.ddq, *seen, heard, watched._known[0].ravel()]))
    return rows


def test_machine_code_and_python_agree(robot: RobotConfig) -> None:
    """The same walk in a process without the compiler: by it the compiled lines are covered, which no tracer sees."""
    here = np.array(walk(robot, 600))
    script = (
        "import sys, numpy as np; from taustack.config import load_robot; from tests.controllers.test_compiled import walk; "
        "np.save(sys.stdout.buffer, np.array(walk(load_robot('panda'), 600)))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, check=True, timeout=300)
    there = np.load(io.BytesIO(done.stdout))
    assert np.abs(here[:, 7:14]).max() > 0.5  # it moved
    assert len(np.unique(here[:, 35:37], axis=0)) > 2  # and there was something to say
    np.testing.assert_allclose(here, there, rtol=1e-9, atol=1e-9)


@as_machine_code
def test_a_walk_compiles_nothing(robot: RobotConfig) -> None:
    functions = [value for module in MODULES for value in vars(module).values() if isinstance(value, CPUDispatcher)]
    assert len(functions) > 10
    walk(robot, 60)
    assert all(len(function.signatures) == 1 for function in functions)


@as_machine_code
def test_no_compiled_function_calls_one_of_another_module() -> None:
    """Numba keeps machine code as long as the function's own file is unchanged: what it calls from another file could be out of date."""
    for module in MODULES:
        for function in (value for value in vars(module).values() if isinstance(value, CPUDispatcher)):
            called = (vars(module).get(name) for name in function.py_func.__code__.co_names)
            assert all(other.py_func.__module__ == function.py_func.__module__ for other in called if isinstance(other, CPUDispatcher)), function


@pytest.mark.parametrize("t", [-0.01, 0.0, 0.007, 0.02, 0.0399, 0.06, 0.5])
def test_the_tracker_takes_out_of_a_plan_what_the_planner_put_into_it(t: float) -> None:
    """Before it takes effect, within a step, at its edge and after its end."""
    rng = np.random.default_rng(3)
    plan = Plan(seq=1, state_seq=1, epoch=0, state_t=7.0, effective_t=7.1, dt=0.02, actions=rng.normal(size=(4, 7)), states=np.zeros((0, 0)))
    start = rng.normal(size=7)
    np.testing.assert_allclose(velocity_of(plan, 7.1 + t, start), plan.velocity(7.1 + t, start), rtol=1e-12, atol=1e-12)


def shorter(x: np.ndarray) -> np.ndarray:
    return x[:3]


def single(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


@as_machine_code
@pytest.mark.parametrize(("change", "error"), [(shorter, IndexError), (single, TypeError)])
def test_a_vector_of_another_size_or_type_is_refused_not_read_beside(robot: RobotConfig, change: Callable[[np.ndarray], np.ndarray], error: type) -> None:
    n = np.zeros(robot.n)
    with pytest.raises(error):
        filter_step.outside(n, change(n), n)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite(bad: float) -> None:
    good, wrong = np.zeros(7), np.zeros(7)
    wrong[6] = bad
    wrong.setflags(write=False)  # as what comes out of shared memory
    assert finite(good, good)
    assert not finite(good, wrong)
    assert not finite(wrong, good)
    assert not finite(np.repeat(wrong, 2)[::-2], good)


def test_a_measurement_in_single_precision_is_a_fault_not_a_crash(robot: RobotConfig) -> None:
    q = robot.home.astype(np.float32)
    state = RobotState(t=0.0, q=q, dq=0 * q, q_ref=q, dq_ref=0 * q, torque=0 * q, ee=np.zeros(3))
    assert (SensorMonitor(robot).look(state, 0.0, np.zeros(robot.n)) or "").startswith("wrong type: float32")
