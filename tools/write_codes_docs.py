#!/usr/bin/env python3
"""Writes docs/reference/codes.md: exit codes, errors, reasons of the gate, findings of fsck.

    .venv/bin/python tools/write_codes_docs.py [--check]

Classes of errors and reasons come from the code; what a reason means, and the findings, come from
the tables of docs/gate.md and docs/audit.md.
"""

import re
import sys

from reference_pages import FOLDER, finish, summary, table
from write_cli_docs import INTRODUCTION as CLI_PAGE

from tfx_registry import errors
from tfx_registry.gate import Reason

INTRODUCTION = """
# Exit and reason codes

This page is written by `tools/write_codes_docs.py`. Codes are for programs: they are added, and
never change their meaning.
"""

ERRORS = """
## Errors

In Python each exit code is an exception, or several where a caller decides differently. All are
in `tfx_registry.errors`, derive from `RegistryError`, and have `what`, `why`, `todo` and
`exit_code`.
"""

REASONS = """
## Reasons of the gate

A failed check of a decision has one of these in `reason`. [The gate](../gate.md#reasons) says what
to do about each.
"""

FINDINGS = """
## Findings of fsck

`tfx-registry fsck --json` names each finding by one of these. [Audit](../audit.md#fsck) says which
of them `--repair` puts right.
"""


def rows_of(page, heading):
    """Returns the rows of the table below a heading of a page: a list of cells each."""
    text = (FOLDER.parent / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    text = re.sub(r"\]\((?=[\w/.-]+\.md)", "](../", text)  # this page lies one folder deeper
    lines = re.findall(r"^\| (`.*) \|$", text.split("\n## ")[0], re.MULTILINE)
    return [line.split(" | ") for line in lines]


def exit_codes():
    """Returns the table of exit codes that docs/cli.md has."""
    return "\n".join(re.findall(r"^\|.*\|$", CLI_PAGE, re.MULTILINE))


def error_rows():
    """Returns a row for each class of errors."""
    classes = [getattr(errors, name) for name in errors.__all__]
    order = sorted(classes, key=lambda cls: (cls.exit_code, cls.__name__))
    return [[f"`{cls.__name__}`", str(cls.exit_code), summary(cls)] for cls in order]


def reason_rows():
    """Returns a row for each reason of the gate."""
    meanings = {cells[0].strip("`"): cells[1] for cells in rows_of("gate.md", "Reasons")}
    return [[f"`{reason.value}`", meanings[reason.value]] for reason in Reason]


def page():
    """Returns the whole page."""
    findings = [cells[:2] for cells in rows_of("audit.md", "fsck")]
    parts = [
        INTRODUCTION,
        "## Exit codes",
        exit_codes(),
        ERRORS,
        table(["class", "exit code", "meaning"], error_rows()),
        REASONS,
        table(["reason", "meaning"], reason_rows()),
        FINDINGS,
        table(["code", "what is wrong"], findings),
    ]
    return "\n\n".join(part.strip() for part in parts)


if __name__ == "__main__":
    sys.exit(finish("codes.md", page(), sys.argv[1:]))
