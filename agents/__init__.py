"""Who acts: scripted experts, learned policies, training, evaluation, policy bundles."""
