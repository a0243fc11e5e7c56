"""A container image that has loaded TFX already; run as a program.

Reads command lines of Python as JSON, one each line, forks for each, and answers with the exit code
and the output. In the fork a module runs as `python -m` runs it, with its own arguments and
environment; only what it imports is there already, which otherwise takes most of its time.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

LOADED = (
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx_registry.components.model_registrar.executor",
    "tfx_registry.components.promoter.executor",
    "tfx_registry.components.version_gate.executor",
)


def run(arguments: Sequence[str], environment: Mapping[str, str], output: int) -> NoReturn:
    """Becomes `python -m MODULE ARGUMENT...`."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    option, module, *rest = arguments
    code = 1
    try:
        assert option == "-m", arguments
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - what ends a program is printed, and is exit code 1
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serves until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever is printed while loading is no answer
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                run(request["arguments"], request["environment"], output.fileno())
            _, status = os.waitpid(child, 0)
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
        answer = {"code": os.waitstatus_to_exitcode(status), "said": said}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
