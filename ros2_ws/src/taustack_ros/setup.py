"""Build file of the ROS package; the core it wraps is the `taustack` package of the same interpreter."""

from setuptools import setup

NODES = (
    "plant",
    "tracker",
    "driver",
    "supervisor",
    "controller",
    "dynamics_server",
    "subgoal_planner",
    "reach_goals",
    "logger",
    "walk_controller",
    "walk_dynamics_server",
    "walk_goals",
    "teleop",
    "viewer",
)

setup(
    name="taustack_ros",
    version="0.1.0",
    packages=["taustack_ros"],
    package_data={"taustack_ros": ["fastdds.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/taustack_ros"]),
        ("share/taustack_ros", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="taustack maintainers",
    maintainer_email="maintainers@taustack.dev",
    description="The nodes of taustack, thin over its ROS-free core.",
    license="Apache-2.0",
    entry_points={"console_scripts": [f"{node} = taustack_ros.{node}:main" for node in NODES]},
)
