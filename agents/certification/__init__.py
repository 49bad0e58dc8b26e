"""The product test: a policy goes through a protocol's trials; metrics with intervals, and a verdict that follows."""
