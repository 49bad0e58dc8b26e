"""What scripted experts are built of."""
