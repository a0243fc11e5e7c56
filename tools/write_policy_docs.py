#!/usr/bin/env python3
"""Writes docs/reference/policy.md, the fields of a policy of the gate.

.venv/bin/python tools/write_policy_docs.py [--check]
"""

import enum
import inspect
import sys

from reference_pages import as_markdown, fields_table, finish, summary

from tfx_registry.gate import policy

INTRODUCTION = """
# Policy schema

This page is written by `tools/write_policy_docs.py` from the code. [The gate](../gate.md#policies)
explains policies by example, and [policy.schema.json](../policy.schema.json) is the same as JSON
Schema, for editors.

A policy is an object with the fields of [GatePolicy](#gatepolicy), in YAML, JSON or Python. Unknown
fields are errors. The field `eval_config`, an EvalConfig of TFMA or the path of one, adds the
thresholds of that.
"""

CLASSES = ("GatePolicy", "ValueThreshold", "ChangeThreshold", "NoWorse", "SliceSpec",
           "CrossSliceSpec")  # fmt: skip


def page():
    """Returns the whole page."""
    parts = [INTRODUCTION]
    for name in CLASSES:
        cls = getattr(policy, name)
        parts += [f"## {name}", summary(cls), fields_table(cls)]
    things = [getattr(policy, name) for name in policy.__all__]
    for cls in things:
        if not isinstance(cls, type) or not issubclass(cls, enum.Enum):
            continue
        values = ", ".join(f"`{member.value}`" for member in cls)
        text = as_markdown(inspect.getdoc(cls) or "")
        for member in cls:
            text = text.replace(f"`{member.name}`", f"`{member.value}`")
        parts += [f"## {cls.__name__}", f"One of {values}.", text]
    return "\n\n".join(part.strip() for part in parts)


if __name__ == "__main__":
    sys.exit(finish("policy.md", page(), sys.argv[1:]))
