"""Decides whether a version may serve."""
