"""What exists: robots, and the code that turns a URDF into a simulation-ready model."""
