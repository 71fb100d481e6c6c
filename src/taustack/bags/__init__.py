"""Bags: what the stack logged, as MCAP files in the layout of rosbag2. Free of ROS."""
