"""Registers the model of a pipeline run as a version."""
