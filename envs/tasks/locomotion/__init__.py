"""Tasks of going somewhere on two feet."""
