"""What happens: world → robot → task → Gymnasium environment.

Importing this package tells Gymnasium every task's id, without importing the engine.
"""

from training_ground.envs.catalog import register_ids

register_ids()
