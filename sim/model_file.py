"""Where a robot's MJCF lies: in its own folder, or in MuJoCo Menagerie, whose models are read as they are published.

Menagerie's robots have servos of their own and often no IMU. The law of the motors is the stack's, and the estimator needs an IMU: both are put
into a model from there. A file in the robot's own folder is never added to; it is refused with what is missing.
"""

from __future__ import annotations

from pathlib import Path

import mujoco

from taustack.config import RobotConfig
from taustack.errors import BadInput, TaustackError
from taustack.legged import LeggedConfig

MENAGERIE = "menagerie:"
IMU = {"imu_gyro": mujoco.mjtSensor.mjSENS_GYRO, "imu_accelerometer": mujoco.mjtSensor.mjSENS_ACCELEROMETER}
"""Sensors of a base, by name."""


def model_file(robot: RobotConfig | LeggedConfig) -> Path:
    """The MJCF file that `model` of a robot's file names.

    Raises:
        BadInput: no such file, or none inside the folder; no such robot of Menagerie, or it cannot be had.
        TaustackError: the package is missing.
    """
    if robot.model.startswith(MENAGERIE):
        return _menagerie_file(robot)
    path = robot.folder / robot.model
    if not path.resolve().is_relative_to(robot.folder.resolve()) or not path.is_file():
        raise BadInput(robot.folder / "robot.yaml", "model", robot.model, f"a file inside {robot.folder}, or `{MENAGERIE}NAME[/ENTRY]`")
    return path


def _menagerie_file(robot: RobotConfig | LeggedConfig) -> Path:
    """By the package, which fetches a robot once, or takes it from MENAGERIE_ROOT."""
    try:
        import mujoco_menagerie
    except ImportError:
        raise TaustackError("no models of MuJoCo Menagerie: mujoco_menagerie is missing (pip install 'taustack[sim]')") from None
    name, _, entry = robot.model.removeprefix(MENAGERIE).partition("/")
    try:
        path = mujoco_menagerie.get(name).xml(entry or None)
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        raise BadInput(
            robot.folder / "robot.yaml", "model", f"{robot.model} ({error})",
            f"{MENAGERIE}NAME[/ENTRY] of a robot there; without a network, MENAGERIE_ROOT set to a folder with the models",
        ) from None  # fmt: skip
    if not path.is_file():
        raise BadInput(robot.folder / "robot.yaml", "model", robot.model, f"the file {path}")
    return Path(path)


def robot_spec(robot: RobotConfig | LeggedConfig) -> mujoco.MjSpec:
    """The robot's model, to be changed and compiled.

    Raises:
        BadInput: as `model_file`, or MuJoCo cannot read it.
    """
    path = model_file(robot)
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise BadInput(path, "", " ".join(str(error).split()), "a model that MuJoCo reads") from None
    if robot.model.startswith(MENAGERIE):
        _motors_for_servos(spec, robot)
        if isinstance(robot, LeggedConfig):
            _add_imu(spec, robot)
    return spec


def robot_model(robot: RobotConfig | LeggedConfig) -> mujoco.MjModel:
    """The model without anything changed. Raises as `robot_spec`, and BadInput if MuJoCo cannot compile it."""
    try:
        return robot_spec(robot).compile()
    except ValueError as error:
        raise BadInput(model_file(robot), "", " ".join(str(error).split()), "a model that MuJoCo compiles") from None


def torque_motor_of(model: mujoco.MjModel, joint: str, source: Path) -> int:
    """Number of the motor of a joint; raises BadInput unless that is all that drives it, and what it is told is the joint's torque."""
    of_joint = [int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)]
    found = [i for i in range(model.nu) if model.actuator_trntype[i] in of_joint and model.actuator_trnid[i, 0] == model.joint(joint).id]
    if len(found) != 1:
        raise BadInput(source, f"actuator of {joint}", f"{len(found)} motors", "exactly one <motor>")
    i = found[0]
    plain = (int(mujoco.mjtGain.mjGAIN_FIXED), int(mujoco.mjtBias.mjBIAS_NONE), int(mujoco.mjtDyn.mjDYN_NONE), 1.0, 1.0)
    kind = (model.actuator_gaintype[i], model.actuator_biastype[i], model.actuator_dyntype[i], model.actuator_gainprm[i, 0], model.actuator_gear[i, 0])
    if kind != plain:
        raise BadInput(source, f"actuator of {joint}", model.actuator(i).name or "one that is no <motor>", "a <motor> with gear 1: its input is a torque")
    return i


def _motors_for_servos(spec: mujoco.MjSpec, robot: RobotConfig | LeggedConfig) -> None:
    """A torque motor for each joint, in place of whatever drives it there."""
    for actuator in list(spec.actuators):
        if actuator.target in robot.joint_names:
            spec.delete(actuator)
    for joint in robot.joints:
        spec.add_actuator(name=f"{joint.name}_motor", target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT, ctrlrange=[-joint.torque, joint.torque])


def _add_imu(spec: mujoco.MjSpec, robot: LeggedConfig) -> None:
    """An IMU in the base's origin, if the model has none under the names of IMU."""
    missing = [name for name in IMU if name not in [sensor.name for sensor in spec.sensors]]
    base = spec.body(robot.base_body)
    if base is None:
        return  # said by what compiles it, with the key
    if missing:
        base.add_site(name="imu_of_base")
    for name in missing:
        spec.add_sensor(name=name, type=IMU[name], objtype=mujoco.mjtObj.mjOBJ_SITE, objname="imu_of_base")
