#!/usr/bin/env python3
"""Writes docs/policy.schema.json, the JSON Schema of a policy file.

    .venv/bin/python tools/write_policy_schema.py

Editors check and complete a policy in YAML that names the schema in its first line:
`# yaml-language-server: $schema=policy.schema.json`.
"""

import json
from pathlib import Path

from tfx_registry.gate import GatePolicy

TARGET = Path(__file__).resolve().parent.parent / "docs" / "policy.schema.json"


def main():
    """Writes the file."""
    text = json.dumps(GatePolicy.json_schema(), indent=2, ensure_ascii=False) + "\n"
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
