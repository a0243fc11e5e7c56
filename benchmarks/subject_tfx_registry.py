"""The process that measures tfx-registry: opens a registry and serves its operations."""

from __future__ import annotations

import argparse
import functools
import itertools
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import payload
from subject import Operation, serve

from tfx_registry import ModelRegistry
from tfx_registry.inspection import installed_libraries
from tfx_registry.registry import Origin
from tfx_registry.registry.mlmd_text import forget_versions

__all__ = ["operations"]


def operations(registry: ModelRegistry, folder: Path) -> dict[str, Operation]:
    """Returns what can be measured.

    Args:
        registry: Holds at least three versions of `payload.MODEL` and its alias.
        folder: For the model directories that are registered.

    Returns:
        The operations by name.
    """
    model, alias = payload.MODEL, payload.ALIAS
    counter = itertools.count()

    @functools.cache  # asked when it is needed: the first question may be what is measured
    def size() -> int:
        return registry.head(model).latest

    @functools.cache
    def draw() -> random.Random:
        return payload.numbers(size())

    origin = Origin(
        pipeline_name="churn-nightly",
        run_id="run",
        node_id="ModelRegistrar",
        code_revision=payload.digest(0)[:40],
        libraries=installed_libraries(),
    )

    def get() -> Callable[[], object]:
        number = draw().randint(1, size())
        return lambda: registry.get(model, number)

    def register(known: Origin | None) -> Callable[[], object]:
        number = next(counter)
        path = payload.make_model(folder, f"model-{number}")
        about = payload.description(number), payload.labels(number), payload.metrics(number)
        parameters = payload.hyperparameters(number)
        return lambda: registry.register(
            model,
            path,
            description=about[0],
            labels=about[1],
            metrics=about[2],
            hyperparameters=parameters,
            origin=known,
        )

    def set_alias() -> Callable[[], object]:
        now = registry.head(model).aliases[alias]
        number = draw().randint(1, size() - 1)
        number += number >= now  # any but that one
        return lambda: registry.set_alias(model, alias, number)

    def fresh(operation: Operation) -> Operation:
        def ready() -> Callable[[], object]:
            forget_versions()
            return operation()

        return ready

    def show_page() -> object:
        # What stands here for the fields of MLflow's: the last event for the time of the last
        # update, the state for stage and status.
        versions = registry.list_versions(model, limit=100)
        return [
            (v.model, v.number, v.time, v.seq, v.description, v.actor, v.state, v.uri, v.run_id,
             v.labels, v.aliases, v.semantic_version)
            for v in versions
        ]  # fmt: skip

    def read_page() -> object:
        return [(v.digest, v.metrics) for v in registry.list_versions(model, limit=100)]

    reading: dict[str, Operation] = {
        "get": get,
        "alias": lambda: lambda: registry.resolve(f"{model}@{alias}"),
        "latest": lambda: lambda: registry.latest(model),
        "page": lambda: lambda: registry.list_versions(model, limit=100),
        "page10": lambda: lambda: registry.list_versions(model, limit=10),
    }
    return {
        **reading,
        # The same, of versions that this process does not keep from earlier reads.
        **{f"{name}_fresh": fresh(operation) for name, operation in reading.items()},
        "page_shown": fresh(lambda: show_page),
        "page_read": fresh(lambda: read_page),
        "register": lambda: register(origin),
        "register_plain": lambda: register(None),
        "set_alias": set_alias,
    }


def main() -> None:
    """Serves until the driver closes the pipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="URI of the registry")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelRegistry.open(options.uri, create=False) as registry,
    ):
        serve(operations(registry, Path(folder)))


if __name__ == "__main__":
    main()
