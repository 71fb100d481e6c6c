"""The one list of topics, services and actions: name, type, QoS, rate, logged or not. Names are relative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from taustack_msgs.action import ReachGoal
from taustack_msgs.msg import Command, EStop, Heartbeat, Model, Obstacles, Plan, RobotState, Safety, Subgoal, Track, WalkState
from taustack_msgs.srv import PredictRollout

NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# A reliable writer waits up to 100 ms for a reader that was killed, until its lease ends: nothing that must not wait is reliable.
FEW = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)
# A service keeps ten messages by default: on a busy machine a burst of goals would lose some, or their answers, on the way.
GOALS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=200, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic and how it is carried. `rate` names the key of robot.yaml's rates, or says when it is sent."""

    name: str
    type: Any
    qos: QoSProfile
    rate: str
    logged: bool = True
    many: bool = False
    """Several publishers: gaps in their sequence numbers cannot be told apart."""


ROBOT_STATE = Topic(name="robot_state", type=RobotState, qos=NEWEST, rate="state_hz")
JOINT_STATES = Topic(name="joint_states", type=JointState, qos=NEWEST, rate="50 Hz")
SUBGOAL = Topic(name="subgoal", type=Subgoal, qos=LATCHED, rate="on change")
OBSTACLES = Topic(name="obstacles", type=Obstacles, qos=LATCHED, rate="on change", many=True)
PLAN = Topic(name="plan", type=Plan, qos=FEW, rate="plan_hz")
COMMAND = Topic(name="command", type=Command, qos=NEWEST, rate="50 Hz")
MODEL = Topic(name="model", type=Model, qos=LATCHED, rate="on change")
TRACK = Topic(name="track", type=Track, qos=FEW, rate="10 Hz")
SAFETY = Topic(name="safety", type=Safety, qos=NEWEST, rate="10 Hz")
ESTOP = Topic(name="estop", type=EStop, qos=FEW, rate="20 Hz a source", many=True)
HEARTBEAT = Topic(name="heartbeat", type=Heartbeat, qos=FEW, rate="10 Hz a node", logged=False)
DIAGNOSTICS = Topic(name="/diagnostics", type=DiagnosticArray, qos=RELIABLE, rate="1 Hz", many=True)

WALK_STATE = Topic(name="walk_state", type=WalkState, qos=FEW, rate="state_hz")
CMD_VEL = Topic(name="cmd_vel", type=Twist, qos=FEW, rate="as commanded", many=True)

TOPICS = (ROBOT_STATE, JOINT_STATES, SUBGOAL, OBSTACLES, PLAN, COMMAND, TRACK, MODEL, SAFETY, ESTOP, HEARTBEAT, DIAGNOSTICS)
SERVICES = {"predict_rollout": PredictRollout, "press_estop": Trigger, "reset_estop": Trigger}
ACTIONS = {"reach_goal": ReachGoal}
FROM_DRIVER = (ROBOT_STATE, JOINT_STATES, COMMAND, TRACK, SAFETY)
LEG_TOPICS = (WALK_STATE, JOINT_STATES, SUBGOAL, CMD_VEL, PLAN, MODEL, SAFETY, ESTOP, HEARTBEAT, DIAGNOSTICS)
"""Of a robot on legs."""
FROM_LEGS = (WALK_STATE, JOINT_STATES, SAFETY)
