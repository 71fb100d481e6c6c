"""A page in the browser: the robot as it moves, what is planned, and buttons. Knows no ROS; who shows it brings what is to be seen."""
