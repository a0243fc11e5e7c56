"""Is an SQLite file whole: its pages, its indexes, its log?

Rows are compared with the log of events elsewhere. What is looked at here lies below them: a page
that no look-up of today touches, an index that lost entries, a rule of uniqueness that is gone.
Without that rule two writers could both win.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tfx_registry.registry.sqlite_file import leaves_no_log, run_python
from tfx_registry.registry.sqlite_log import log_problem
from tfx_registry.registry.verify import UNREADABLE_ROW, Damage

__all__ = ["check_file"]

_logger = logging.getLogger(__name__)

_FILE_SECONDS = 6 * 3600  # a terabyte on a slow disk

#: Of these columns ML Metadata never lets two rows be equal, and the registry relies on it.
_UNIQUE = {
    "Artifact": (["external_id"], ["name", "type_id"]),
    "ArtifactProperty": (["artifact_id", "is_custom_property", "name"],),
    "Association": (["context_id", "execution_id"],),
    "Attribution": (["artifact_id", "context_id"],),
    "Context": (["external_id"], ["name", "type_id"]),
    "ContextProperty": (["context_id", "is_custom_property", "name"],),
    "Event": (["artifact_id", "execution_id", "type"],),
    "Execution": (["external_id"], ["name", "type_id"]),
    "ExecutionProperty": (["execution_id", "is_custom_property", "name"],),
    "Type": (["external_id"],),
}

#: By what the registry looks up rows, besides: without an index each look-up reads a whole table.
_LOOKED_UP = {"Artifact": "uri", "Event": "execution_id", "EventPath": "event_id", "Type": "name"}


def check_file(path: Path) -> Iterator[Damage]:
    """Checks a file, its indexes and its log, in a process of its own; changes nothing.

    Args:
        path: The database; processes may be writing to it.

    Yields:
        What is wrong; none of it can be repaired from the log of events.
    """
    if problem := log_problem(path, even_if_open=True):
        yield _damage("file.log", f"{problem.why}; {problem.todo}")
    mode = "" if leaves_no_log(path) else "&immutable=1"
    try:
        done = run_python(_CHECK, str(path.absolute()), mode, seconds=_FILE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:  # Python may be part of another program
        _logger.warning("the pages and indexes of %s were not checked: %s", path, error)
        return
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        if "malformed" in why or "not a database" in why:
            yield _damage("file.page", f"SQLite cannot read it ({why}); {_RESTORE}")
        else:
            _logger.warning("the pages and indexes of %s were not checked: %s", path, why)
        return
    found = json.loads(done.stdout)
    for problem_text in found["problems"]:
        code = "file.index" if " index " in f" {problem_text}" else "file.page"
        yield _damage(code, f"SQLite says {problem_text!r}; {_RESTORE}")
    for row in found["rows"]:
        yield _damage(
            UNREADABLE_ROW,
            f"{row}, on which ML Metadata fails or ends the process, so the records were not "
            "looked at; put the value back, or restore a backup",
        )
    yield from _missing_rules(found["unique"], found["first"])


def _missing_rules(
    unique: dict[str, list[list[str]]], first: dict[str, list[str]]
) -> Iterator[Damage]:
    for table, rules in _UNIQUE.items():
        for columns in rules:
            if table in unique and columns not in unique[table]:
                yield _damage(
                    "file.index",
                    f"nothing keeps {' and '.join(columns)} of the table {table} unique any more, "
                    f"so two writers could both win; {_RESTORE}",
                )
    for table, column in _LOOKED_UP.items():
        if table in first and column not in first[table]:
            yield _damage(
                "file.index",
                f"the table {table} has no index by {column}, so look-ups read all of it; make it "
                f"again with 'CREATE INDEX idx_{table.lower()}_{column} ON {table}({column})'",
            )


_RESTORE = "restore a backup, or export what can be read and import it into a new database"


def _damage(code: str, problem: str) -> Damage:
    return Damage(code, "", "SQLite file", problem)


_CHECK = """
import json, pathlib, sqlite3, sys
path, mode = sys.argv[1:]
connection = sqlite3.connect(f"{pathlib.Path(path).as_uri()}?mode=ro{mode}", uri=True, timeout=60)
def ask(text):
    return connection.execute(text).fetchall()
unique, first = {}, {}
for table, in ask("SELECT name FROM sqlite_master WHERE type = 'table'"):
    unique[table], first[table] = [], []
    for _, name, is_unique, *rest in ask(f'PRAGMA index_list("{table}")'):
        columns = [row[2] for row in ask(f'PRAGMA index_info("{name}")')]
        if not any(rest[1:2]):
            first[table].append(columns[0])
            if is_unique:
                unique[table].append(sorted(columns))
values = " AND ".join(f"{kind}_value IS NULL" for kind in
                      ("int", "double", "string", "byte", "proto", "bool"))
def broken():
    if "EventPath" in unique:
        for number, in ask("SELECT DISTINCT event_id FROM EventPath WHERE"
                           " is_index_step AND step_index IS NULL LIMIT 5"):
            yield f"a row of EventPath, of event {number}, has no step_index"
    for kind in ("Artifact", "Context", "Execution"):
        if f"{kind}Property" in unique:
            for number, name in ask(f"SELECT {kind}_id, name FROM {kind}Property WHERE {values}"
                                    " LIMIT 5"):
                yield f"the row of {kind}Property for {name!r} of {kind.lower()} {number} is empty"
rows = []
try:
    rows += broken()
    problems = [text for text, in ask("PRAGMA integrity_check(10)") if text != "ok"]
except sqlite3.DatabaseError as error:
    problems = [str(error)]
print(json.dumps({"problems": problems, "rows": rows, "unique": unique, "first": first}))
"""
