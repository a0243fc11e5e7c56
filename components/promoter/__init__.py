"""Publishes a version that the gate has passed."""
