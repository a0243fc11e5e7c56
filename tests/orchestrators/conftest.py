"""Tests of orchestrators, each in an environment of its own: see the targets of the Makefile."""

from __future__ import annotations

import importlib.util

# `make test-airflow` names its folder, and fails if it finds no test there.
collect_ignore = [
    folder
    for folder, package in {"airflow": "airflow", "kubeflow": "kfp"}.items()
    if importlib.util.find_spec(package) is None
]
