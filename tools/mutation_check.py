#!/usr/bin/env python3
"""Changes the gate's decision one operator at a time, and sees whether a test notices.

    .venv/bin/python tools/mutation_check.py [--all] [--jobs N] [MODULE ...]

Without --all only comparisons are changed: each of `<`, `<=`, `>`, `>=` becomes each other one, and
`==`, `is`, `in` become their opposites and back. With --all also `and`, `or`, `not`, `+`, `-`, `*`,
`/`, the constants True and False, numbers, and the branches of `if`. Each changed module lives in a
process of its own, forked after everything else is loaded; no file is changed. Prints the mutants
that no test noticed and the score, and fails when a mutated comparison survives that is not in
EQUIVALENT.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import resource
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GATE = ROOT / "src" / "tfx_registry" / "gate"

MODULES = [
    "decide", "baseline", "presence", "lookup", "slices", "bounds",
    "rules_value", "rules_change", "rules_no_worse", "rules_facts", "student_t",
]  # fmt: skip

# The quick tests first: most mutants die of them, and the others are not even loaded.
TESTS = [
    ["tests/gate/test_no_worse.py", "tests/gate/test_confidence.py", "tests/gate/test_facts.py"],
    ["tests/gate/test_decide.py", "tests/gate/test_lookup.py", "tests/gate/test_laws.py"],
]

# Mutants that mean the same as the original: (module, line as it stands, what it became).
EQUIVALENT = {
    # With that many degrees of freedom both formulas give the same digits.
    (
        "student_t",
        "if degrees_of_freedom >= _MANY:",
        "degrees_of_freedom > _MANY",
    ),
    # Where the probability is exactly the level, the search ends one unit in the last place away.
    (
        "student_t",
        "while _probability(high, degrees_of_freedom) < level:",
        "_probability(high, degrees_of_freedom) <= level",
    ),
    (
        "student_t",
        "if _probability(middle, degrees_of_freedom) < level:",
        "_probability(middle, degrees_of_freedom) <= level",
    ),
}

ORDER = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
OPPOSITE = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}

#: Processor time for each of the lists of tests; a mutant that needs more never ends, and that is
#: noticed. It is several times what the tests take.
SECONDS = (15, 60)


def comparisons(node):
    """Yields what a comparison may become."""
    for index, operator in enumerate(node.ops):
        kind = type(operator)
        others = [other for other in ORDER if other is not kind] if kind in ORDER else []
        for other in [*others, *([OPPOSITE[kind]] if kind in OPPOSITE else [])]:
            changed = copy.deepcopy(node)
            changed.ops[index] = other()
            yield changed


def others(node):
    """Yields what any other node may become."""
    if isinstance(node, ast.BoolOp):
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield copy.deepcopy(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        changed = copy.deepcopy(node)
        changed.op = ARITHMETIC[type(node.op)]()
        yield changed
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, (ast.If, ast.IfExp)):
        for value in (True, False):
            changed = copy.deepcopy(node)
            changed.test = ast.Constant(value)
            yield changed


def mutants_of(tree, everything):
    """Yields (line, what it became, whether it is a comparison, tree) for each mutant."""
    for target in list(ast.walk(tree)):
        if isinstance(target, ast.Compare):
            changes = comparisons(target)
        elif everything:
            changes = others(target)
        else:
            continue
        for changed in changes:
            ast.copy_location(changed, target)
            replaced = Replace(target, changed).visit(tree)
            shown = changed.test if isinstance(changed, (ast.If, ast.IfExp)) else changed
            is_comparison = isinstance(target, ast.Compare)
            became = ast.unparse(shown)
            yield target.lineno, became, is_comparison, ast.fix_missing_locations(replaced)


class Replace(ast.NodeTransformer):
    """Puts one node in the place of another, and leaves the original tree as it is."""

    def __init__(self, target, changed):
        """Takes both."""
        self.target, self.changed = target, changed

    def visit(self, node):
        """Copies a node shallowly, unless it is the target."""
        if node is self.target:
            return self.changed
        return self.generic_visit(copy.copy(node))

    def generic_visit(self, node):
        """Visits the children in lists of their own."""
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                items = [self.visit(v) if isinstance(v, ast.AST) else v for v in value]
                setattr(node, field, items)
            elif isinstance(value, ast.AST):
                setattr(node, field, self.visit(value))
        return node


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a changed tree."""

    def __init__(self, name, path, tree):
        """Takes the module."""
        self.name, self.path = name, path
        self.code = compile(tree, str(path), "exec")

    def find_spec(self, fullname, path=None, target=None):
        """Finds the one module."""
        if fullname == self.name:
            return importlib.util.spec_from_loader(fullname, self, origin=str(self.path))
        return None

    def exec_module(self, module):
        """Runs it."""
        exec(self.code, module.__dict__)  # noqa: S102


def run_tests(finder):
    """Runs the tests in this process; returns whether all passed."""
    import pytest

    if finder is not None:
        sys.meta_path.insert(0, finder)
    # The gate was not imported before the fork, so it is imported now, changed.
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
    for tests, seconds in zip(TESTS, SECONDS):
        resource.setrlimit(
            resource.RLIMIT_CPU, (int(time.process_time()) + seconds, resource.RLIM_INFINITY)
        )
        if pytest.main([*arguments, *tests]) != 0:
            return False
    return True


def fork_tests(finder):
    """Runs the tests in a child; returns its process id. Exit code 1: the mutant survived."""
    child = os.fork()
    if child:
        return child
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        code = 1 if run_tests(finder) else 0
    except BaseException:  # noqa: BLE001 - whatever breaks, somebody would notice
        code = 0
    os._exit(code)


def preload():
    """Loads what every child needs and no mutant changes."""
    import hypothesis  # noqa: F401
    import hypothesis.extra  # noqa: F401
    import pytest  # noqa: F401

    import tfx_registry.codec
    import tfx_registry.records  # noqa: F401

    loaded = [name for name in sys.modules if name.startswith("tfx_registry.gate")]
    assert not loaded, loaded


def main():
    """Runs all mutants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=MODULES)
    parser.add_argument("--all", action="store_true", help="not only comparisons")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.dont_write_bytecode = True
    preload()
    started = time.monotonic()
    check = fork_tests(None)
    if os.waitstatus_to_exitcode(os.waitpid(check, 0)[1]) != 1:
        sys.exit("mutation_check.py: the tests fail without any change; make them pass first")
    counts, running, survivors = Counter(), {}, []

    def finish():
        process, status = os.wait()
        module, line, became, is_comparison = running.pop(process)
        kind = "comparisons" if is_comparison else "others"
        counts[kind] += 1
        if os.waitstatus_to_exitcode(status) == 1:
            source = (GATE / f"{module}.py").read_text(encoding="utf-8").splitlines()[line - 1]
            known = (module, source.strip(), became) in EQUIVALENT
            counts[f"{kind} equivalent" if known else f"{kind} survived"] += 1
            if not known:
                survivors.append((not is_comparison, module, line, source.strip(), became))
                print(f"survived: {module}.py:{line}: {source.strip()}  ->  {became}", flush=True)

    for module in options.modules:
        path = GATE / f"{module}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, became, is_comparison, changed in mutants_of(tree, options.all):
            while len(running) >= options.jobs:
                finish()
            finder = Mutated(f"tfx_registry.gate.{module}", path, changed)
            running[fork_tests(finder)] = (module, line, became, is_comparison)
    while running:
        finish()
    for kind in ("comparisons", "others"):
        total, left = counts[kind], counts[f"{kind} survived"]
        same = counts[f"{kind} equivalent"]
        if total:
            print(f"{kind}: {total} mutants, {total - left - same} killed, {same} equivalent, "
                  f"{left} survived")  # fmt: skip
    print(f"{time.monotonic() - started:.0f} seconds")
    sys.exit(1 if counts["comparisons survived"] else 0)


if __name__ == "__main__":
    main()
