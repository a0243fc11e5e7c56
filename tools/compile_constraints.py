"""Resolves the extras of setup.py into constraints/: both TFX lanes, and orchestrators apart.

Run by `make constraints`. The files name versions only: no index, no path, no machine. Lane 1.16
is resolved for Linux on x86_64 and Python 3.10; lane 1.21 at once for the platforms that
`[tool.uv] environments` in pyproject.toml lists and Python 3.11 to 3.13.

Versions that are already pinned stay unless they no longer fit; `UPGRADE=1 make constraints` takes
the newest of everything, `UPGRADE=name make constraints` of one package.
"""

import argparse
import collections
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("benchmarks", "dev", "docs", "examples", "notebooks", "tfx")
PLATFORMS = {
    "1.16": ("--python-version", "3.10", "--python-platform", "x86_64-manylinux_2_28"),
    "1.21": ("--python-version", "3.11", "--universal"),
}
# Constraints file -> lane and extras. Orchestrators do not fit into one environment with the rest.
TARGETS = {
    "tfx-1.16": ("1.16", EXTRAS),
    "tfx-1.21": ("1.21", EXTRAS),
    "tfx-1.16-airflow": ("1.16", ("airflow", "examples", "object-stores", "test")),
    "tfx-1.21-airflow": ("1.21", ("airflow", "examples", "object-stores", "test")),
    "tfx-1.16-kfp": ("1.16", ("emulators", "examples", "kfp", "object-stores", "test")),
    "tfx-1.21-kfp": ("1.21", ("emulators", "examples", "kfp", "object-stores", "test")),
}


def drop_common_marker(text):
    """Returns pins without the one marker that nearly all lines carry.

    A universal resolution writes all supported platforms behind every package. As constraints the
    pins may as well hold everywhere, and what differs between platforms becomes visible.
    """
    markers = collections.Counter(re.findall(r"^\S+==\S+ ; (.+)$", text, re.MULTILINE))
    if not markers:
        return text
    (common, _), *_ = markers.most_common(1)
    return text.replace(" ; " + common + "\n", "\n")


def command_for(uv, target, upgrade):
    """Returns the uv command that resolves one constraints file."""
    lane, extras = TARGETS[target]
    command = [uv, "pip", "compile", "setup.py", "constraints/tfx-{}.in".format(lane)]
    for extra in extras:
        command += ["--extra", extra]
    command += PLATFORMS[lane]
    command += ["--custom-compile-command", "make constraints", "--no-emit-index-url", "--quiet"]
    if upgrade in ("1", "all"):
        command.append("--upgrade")
    elif upgrade:
        command += ["--upgrade-package", upgrade]
    return [*command, "--output-file", "constraints/{}.txt".format(target)]


def main():
    """Runs the tool; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", required=True, help="the uv to resolve with")
    parser.add_argument("--upgrade", default="", help="'1' for everything, or one package's name")
    options = parser.parse_args()
    for target, (lane, _) in sorted(TARGETS.items()):
        done = subprocess.run(command_for(options.uv, target, options.upgrade), cwd=str(ROOT))
        if done.returncode != 0:
            print(
                "constraints: error: {} does not resolve, see above. The inputs are the extras in "
                "setup.py and constraints/tfx-{}.in.".format(target, lane),
                file=sys.stderr,
            )
            return 1
        path = ROOT / "constraints" / (target + ".txt")
        text = drop_common_marker(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        pins = len(re.findall(r"^\S+==", text, re.MULTILINE))
        print("constraints: {} pins {} packages".format(path.relative_to(ROOT), pins))
    return 0


if __name__ == "__main__":
    sys.exit(main())
