"""What each operation costs on MariaDB and PostgreSQL, beside SQLite.

    python benchmarks/databases.py --versions 10000

Starts private servers (see `tfx_registry.testing`) in temporary folders, fills each, and prints
one table in Markdown. There is no peer here: the question is what a server costs. The servers are
those of the tests, but while they are measured they keep what they acknowledged through a power
cut, as a server in production does, and as SQLite does by default.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import generate_registry
import report
from registry_speed import CALLS, HERE, copy_of, measure, registry_of, start

from tfx_registry.testing import MariaDbServer, PostgreSqlServer

__all__ = ["databases_table"]

OPERATIONS = {
    "get_fresh": "get by number",
    "alias_fresh": "get by alias",
    "latest_fresh": "get the latest",
    "page_fresh": "newest page of 100",
    "register": "register",
    "set_alias": "set an alias",
}


class _MariaDb(MariaDbServer):
    """MariaDB, durable from the second start on."""

    durable = False

    def _command(self) -> Sequence[str]:
        durable = ["--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1",
                   "--innodb-buffer-pool-size=512M"]  # fmt: skip
        return [*super()._command(), *(durable if self.durable else [])]


class _PostgreSql(PostgreSqlServer):
    """PostgreSQL, durable from the second start on."""

    durable = False

    def _command(self) -> Sequence[str]:
        durable = ["-c", "fsync=on", "-c", "full_page_writes=on", "-c", "shared_buffers=512MB"]
        return [*super()._command(), *(durable if self.durable else [])]


def databases_table(folder: Path, versions: int, rounds: int) -> str:
    """Measures each operation on each database, in turns."""
    with ExitStack() as stack:
        subjects = {
            "SQLite": stack.enter_context(start(copy_of(stack, registry_of(folder, versions))))
        }
        for name, server in (("MariaDB", _MariaDb()), ("PostgreSQL", _PostgreSql())):
            stack.enter_context(server)
            os.environ["TFX_REGISTRY_PASSWORD"] = server.password
            uri = server.create_database("speed")
            print(f"filling {name}", file=sys.stderr)
            generate_registry.generate(uri, versions)
            server.stop()
            server.durable = True
            server.start()
            print(f"- {name}: {server.sql('SELECT version()').strip()}")
            subjects[name] = stack.enter_context(start(uri))
        rows = []
        for operation, title in OPERATIONS.items():
            plan = {name: (one, operation, CALLS[operation]) for name, one in subjects.items()}
            found = measure(plan, rounds)
            rows.append([title, *map(report.milliseconds, found.values())])
            print("  ".join(rows[-1]), file=sys.stderr)
    return report.table(["operation, ms", *subjects], rows)


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=HERE / "results", help="for SQLite")
    parser.add_argument("--rounds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--versions", type=int, default=10_000, help="default: %(default)s")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(report.describe_machine(folder))
    print(f"\n{databases_table(folder, options.versions, options.rounds)}")


if __name__ == "__main__":
    main()
