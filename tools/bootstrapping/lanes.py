"""Which TFX lane a machine can run, and on which versions of Python."""

import collections
import os
import platform
import re

from bootstrapping.running import SetupError, dotted

# Lane -> versions of Python it runs on, the preferred one first.
LANES = {
    "1.16": ((3, 10),),
    "1.21": ((3, 13), (3, 12), (3, 11)),
}

# Lane and variant -> the same, where a variant does not run on all of them.
VARIANTS = {
    ("1.21", "airflow"): ((3, 12), (3, 11)),
}

# The oldest glibc that all pinned wheels of a lane accept.
GLIBC_NEEDED = {"1.16": (2, 28), "1.21": (2, 39)}

Machine = collections.namedtuple("Machine", "system processor glibc")


def parse_glibc(text):
    """Returns the version in a text such as 'glibc 2.36' as (2, 36), or None without one."""
    match = re.match(r"glibc (\d+)\.(\d+)", text or "")
    return (int(match.group(1)), int(match.group(2))) if match else None


def this_machine():
    """Returns the Machine that this runs on."""
    try:
        glibc = parse_glibc(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):  # not Linux, or Linux with another C library
        glibc = None
    return Machine(platform.system(), platform.machine(), glibc)


def choose_lane(machine, wanted=""):
    """Returns the TFX lane for a machine.

    Args:
        machine: The Machine to choose for.
        wanted: A lane that the caller insists on; '' or 'auto' chooses by machine.

    Raises:
        SetupError: The lane is unknown, or has no wheels for this machine.
    """
    wanted = "" if wanted == "auto" else wanted
    if wanted and wanted not in LANES:
        raise SetupError(
            "LANE={} is unknown: the lanes are {}. Leave LANE unset to choose by machine.".format(
                wanted, " and ".join(sorted(LANES))
            )
        )
    if machine.system == "Linux":
        return _choose_linux_lane(machine, wanted)
    if machine.system == "Darwin" and machine.processor == "arm64":
        if wanted == "1.16":
            raise SetupError(
                "LANE=1.16 has no wheels for macOS on Apple silicon. Leave LANE unset (1.21)."
            )
        return "1.21"
    if machine.system == "Darwin":
        raise SetupError(
            "TFX has no wheels for Python on macOS/{}. On Apple silicon start this with a native "
            "(arm64) Python; on an Intel Mac use a Linux machine or container.".format(
                machine.processor
            )
        )
    raise SetupError(
        "TFX has no wheels for {}. Use Linux on x86_64 or macOS on Apple silicon; "
        "on Windows, WSL 2 with Ubuntu works like Linux.".format(machine.system)
    )


def _choose_linux_lane(machine, wanted):
    if machine.processor not in ("x86_64", "AMD64"):
        raise SetupError(
            "TFX has Linux wheels for x86_64 only, this machine is {}. "
            "Use an x86_64 machine or container, or macOS on Apple silicon.".format(
                machine.processor
            )
        )
    if machine.glibc is None:
        raise SetupError(
            "this Linux has no glibc (Alpine and other musl systems have none) and TFX has no "
            "wheels for it. Use Debian, Ubuntu, Fedora or another system with glibc."
        )
    lane = wanted or ("1.21" if machine.glibc >= GLIBC_NEEDED["1.21"] else "1.16")
    if machine.glibc < GLIBC_NEEDED[lane]:
        way_out = (
            "Leave LANE unset to use lane 1.16 here, or run `make test-second-lane` as root, "
            "which makes a Debian 13 root folder for it."
            if lane == "1.21" and machine.glibc >= GLIBC_NEEDED["1.16"]
            else "Use a newer system, for example Debian 12 or Ubuntu 22.04."
        )
        raise SetupError(
            "TFX {} needs glibc {} or newer, this machine has {}. {}".format(
                lane, dotted(GLIBC_NEEDED[lane]), dotted(machine.glibc), way_out
            )
        )
    return lane


def versions_for(lane, variant=""):
    """Returns the versions of Python that a lane, or a variant of it, runs on."""
    return VARIANTS.get((lane, variant), LANES[lane])
