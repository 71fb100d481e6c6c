"""Runs a ROS 2 launch file where `ros2 launch` is missing: the same list of processes, the same order, no orphans."""
