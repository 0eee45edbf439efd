"""What to run, and with which flags."""
