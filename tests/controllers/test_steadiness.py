"""How much a walk shakes, and what is asked of one that does."""

from __future__ import annotations

import numpy as np
import pytest

from taustack.controllers.steadiness import STEADY, Steadiness

DT = 0.02


def up(roll: float, pitch: float = 0.0) -> np.ndarray:
    return np.array([-np.sin(pitch), np.cos(pitch) * np.sin(roll), np.cos(pitch) * np.cos(roll)])


def after(steadiness: Steadiness, amplitude: float, pitch: float = 0.0, seconds: float = 6.0) -> float:
    """Share after so long of a roll at 3 Hz: the least in its last second."""
    t = np.arange(0.0, seconds, DT)
    return min([steadiness.look(up(amplitude * np.sin(2 * np.pi * 3.0 * s), pitch)) for s in t][-50:])


def test_a_calm_walk_gets_all_that_is_wanted() -> None:
    assert after(Steadiness(DT), 0.05) == 1.0


def test_a_slope_is_no_shaking() -> None:
    """10 degrees, come upon at once."""
    steadiness = Steadiness(DT)
    after(steadiness, 0.02)
    assert after(steadiness, 0.02, pitch=-0.17) == 1.0


@pytest.mark.parametrize("amplitude", [0.1, 0.2])
def test_one_that_shakes_gets_less_in_proportion(amplitude: float) -> None:
    assert after(Steadiness(DT), amplitude) == pytest.approx(STEADY / (amplitude / np.sqrt(2)), rel=0.15)


def test_it_gets_all_again_once_it_is_calm() -> None:
    steadiness = Steadiness(DT)
    assert after(steadiness, 0.2) < 0.5
    assert after(steadiness, 0.02, seconds=2.5) == 1.0
