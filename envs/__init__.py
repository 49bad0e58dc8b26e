"""What happens: world → robot → task → Gymnasium environment."""
