"""What every request passes: guards, and the log."""
