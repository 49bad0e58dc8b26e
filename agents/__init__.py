"""Who acts: scripted experts, learned policies, training, evaluation, policy bundles.

Importing this package offers the balance policies that ship to environments whose robot stands on its own feet.
"""

from training_ground.agents.legs import offer_shipped

offer_shipped()
