"""Cleaning: operations that make a better dataset from one that stays as it is, and say what they did."""
