"""People who work with a robot's hands: the policy that does what they ask, the desk that keeps episodes, the page."""
