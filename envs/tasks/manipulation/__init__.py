"""Tasks for the hands."""
