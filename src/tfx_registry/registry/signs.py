"""What the errors of ML Metadata mean, which come as text of three databases."""

from __future__ import annotations

import enum
import logging
import re

from ml_metadata import errors as mlmd_errors

__all__ = ["Sign", "looks_like_a_race", "looks_lost", "read_sign"]

_logger = logging.getLogger(__name__)


class Sign(enum.Enum):
    """What an error of ML Metadata means."""

    BUSY = "another writer was faster, or holds a lock"
    LOST = "the connection is gone"
    OTHER = "something else"


_BUSY = re.compile(
    r"database is locked|database table is locked|deadlock|lock wait timeout|could not serialize"
    r"|concurrent update|record has changed since last read"
    # Two writers of one version: of ML Metadata's properties, not of the version itself.
    r"|duplicate key value violates|duplicate entry|unique constraint failed"
    # gRPC: ML Metadata's message for a lost race repeats the whole node, and does not fit.
    r"|received metadata size exceeds",
    re.IGNORECASE,
)
_LOST = re.compile(
    r"lost connection|server has gone away|mysql_real_connect failed|closed the connection"
    r"|terminating connection|connection pointer is null|no connection to the server"
    r"|connection (?:refused|reset|not open|timed out)|server shutdown in progress"
    r"|connection was killed|the database system is|bad file descriptor|could not receive data"
    r"|could not send data|got a packet bigger|packets out of order|commands out of sync"
    r"|transaction already open|metadata source error:\s*$",
    re.IGNORECASE,
)
_RACE = re.compile(
    r"already exists|duplicate (?:key|entry)|concurrent|subset of tables|tuple concurrently"
    r"|being accessed by other users|does not exist|doesn't exist|locked|no such table"
    r"|cache lookup failed|more than one|schema_version|MLMDEnv",
    re.IGNORECASE,
)


def read_sign(error: Exception) -> Sign:
    """Says what an error means."""
    text = str(error)
    _logger.debug("%s: %s", type(error).__name__, text)
    lost = (mlmd_errors.UnavailableError, mlmd_errors.DeadlineExceededError)
    if isinstance(error, lost) or _LOST.search(text):
        return Sign.LOST
    busy = (mlmd_errors.AlreadyExistsError, mlmd_errors.AbortedError)
    return Sign.BUSY if isinstance(error, busy) or _BUSY.search(text) else Sign.OTHER


def looks_like_a_race(error: Exception) -> bool:
    """Tells whether an error while opening comes from another process that makes the tables."""
    return read_sign(error) is Sign.BUSY or bool(_RACE.search(str(error)))


def looks_lost(text: str) -> bool:
    """Tells whether the text of an error is that of a lost connection."""
    return bool(_LOST.search(text))
