"""Tasks of keeping one's balance."""
