"""Does a write-ahead log go on from the rows that an SQLite file holds?

Asked where the log says nothing of whose it is. ML Metadata numbers its nodes, deletes none and
changes no time of creation: so a node that the file has without the log must have the same time
with it. A log of another database puts other nodes there, or pages that fit nowhere.

The file alone may be a mixture of two moments, if a crash stopped SQLite when it moved the log. So
rows that are missing, and what cannot be read without the log, mean nothing; and a file that does
not hold together without it tells nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tfx_registry.registry.sqlite_file import run_python

__all__ = ["strange_rows"]


def strange_rows(path: Path) -> str:
    """Compares a database with and without its log, in a process of its own; changes neither.

    Args:
        path: The database.

    Returns:
        Why the log cannot be that of the file; "" where nothing says so, or none could look.
    """
    try:
        done = run_python(_COMPARE, str(path.absolute()))
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# The newest rows are those that stand where the log writes.
_COMPARE = """
import pathlib, sqlite3, sys
uri = pathlib.Path(sys.argv[1]).as_uri()
TABLES = ("Execution", "Artifact", "Context")
def times(options, table, first):
    connection = sqlite3.connect(uri + options, uri=True, timeout=10)
    try:
        connection.execute("PRAGMA query_only=1")
        return dict(connection.execute(
            f"SELECT id, create_time_since_epoch FROM {table} WHERE id >= ? ORDER BY id DESC"
            " LIMIT 2000", (first,)))
    finally:
        connection.close()
def found(text):
    connection = sqlite3.connect(uri + "?mode=ro&immutable=1", uri=True)
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok":
        print(text)
    sys.exit()
for table in TABLES:
    try:
        before = times("?mode=ro&immutable=1", table, 0)
    except sqlite3.DatabaseError:
        continue
    if not before:
        continue
    try:
        after = times("?mode=ro", table, min(before))
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            found(f"with it there is no table {table}, which the file has")
        break
    except sqlite3.DatabaseError as error:
        found(f"with it the table {table} cannot be read ({error}), and without it can")
    strange = [key for key in sorted(before) if key in after and before[key] != after[key]]
    if strange:
        found(f"with it row {strange[0]} of {table} is another one than in the file")
"""
