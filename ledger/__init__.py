"""The ground both sides stand on: what is written down, and the doorbell."""
