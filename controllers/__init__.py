"""State to command, free of ROS, torch and MuJoCo."""
