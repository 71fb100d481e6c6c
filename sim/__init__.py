"""MuJoCo plants behind the hardware interface, scenarios, episodes, evaluation."""
