"""The safety monitor of factory cells: what it watches, when it stops the robot, and what it measures then."""
