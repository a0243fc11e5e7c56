"""The process that measures MLflow; runs in the environment that `mlflow_environment` makes.

Works through `MlflowClient` only, the public interface. What stands for what:

| here | MLflow |
|---|---|
| labels, description | tags, description |
| metrics, hyperparameters, digest | nothing: MLflow keeps them with runs, or not at all |
| get | `get_model_version` |
| alias | `get_model_version_by_alias` |
| latest | `get_latest_versions`, which is also what `models:/name/latest` does |
| latest_search | `search_model_versions`, newest first, one result: the quickest way found |
| page | `search_model_versions`, 100 results, in its own order: last updated first |
| page_by_number | the same, ordered by version number: quicker |
| page_shown | page, and every field of each version is read that MLflow keeps of one |
| register | `create_model_version` with a local source, which it does not read |
| set_alias | `set_registered_model_alias` |
"""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
import random
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import payload
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from subject import Operation, serve

__all__ = ["fill", "operations"]

_BY_NUMBER = ("version_number DESC",)


def fill(client: MlflowClient, count: int) -> None:
    """Makes `count` versions of `payload.MODEL` and points the alias at the middle one."""
    client.create_registered_model(payload.MODEL)
    for number in range(1, count + 1):
        client.create_model_version(
            payload.MODEL,
            source=payload.uri(number),
            tags=payload.labels(number),
            description=payload.description(number),
        )
    client.set_registered_model_alias(payload.MODEL, payload.ALIAS, str((count + 1) // 2))


def operations(client: MlflowClient, folder: Path) -> dict[str, Operation]:
    """Returns what can be measured; see the table above.

    Args:
        client: Of a registry that `fill` has filled.
        folder: For the model directories that are registered.

    Returns:
        The operations by name.
    """
    model, alias = payload.MODEL, payload.ALIAS
    counter = itertools.count()

    @functools.cache  # asked when it is needed: the first question may be what is measured
    def size() -> int:
        return int(search(client, 1, _BY_NUMBER)[0].version)

    @functools.cache
    def draw() -> random.Random:
        return payload.numbers(size())

    def get() -> Callable[[], object]:
        number = str(draw().randint(1, size()))
        return lambda: client.get_model_version(model, number)

    def register() -> Callable[[], object]:
        number = next(counter)
        source = str(payload.make_model(folder, f"model-{number}"))
        about = payload.description(number), payload.labels(number)
        return lambda: client.create_model_version(
            model, source=source, description=about[0], tags=about[1]
        )

    def set_alias() -> Callable[[], object]:
        number = str(draw().randint(1, size()))
        return lambda: client.set_registered_model_alias(model, alias, number)

    def show_page() -> object:
        return [
            (v.name, v.version, v.creation_timestamp, v.last_updated_timestamp, v.description,
             v.user_id, v.current_stage, v.source, v.run_id, v.run_link, v.status,
             v.status_message, v.tags, v.aliases)
            for v in search(client, 100)
        ]  # fmt: skip

    return {
        "get": get,
        "alias": lambda: lambda: client.get_model_version_by_alias(model, alias),
        "latest": lambda: lambda: client.get_latest_versions(model),
        "latest_search": lambda: lambda: search(client, 1, _BY_NUMBER),
        "page": lambda: lambda: search(client, 100),
        "page_by_number": lambda: lambda: search(client, 100, _BY_NUMBER),
        "page_shown": lambda: show_page,
        "register": register,
        "set_alias": set_alias,
    }


def search(client: MlflowClient, count: int, order: Sequence[str] = ()) -> list[ModelVersion]:
    """Returns the first versions in an order; none means MLflow's own, last updated first."""
    return client.search_model_versions(
        f"name = '{payload.MODEL}'", max_results=count, order_by=list(order) or None
    )


def main() -> None:
    """Fills a registry, or serves until the driver closes the pipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("uri", help="URI of the registry, such as sqlite:///mlflow.sqlite")
    parser.add_argument("--fill", type=int, metavar="N", help="make N versions, then end")
    options = parser.parse_args()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    client = MlflowClient(tracking_uri=options.uri, registry_uri=options.uri)
    if options.fill:
        fill(client, options.fill)
        return
    with tempfile.TemporaryDirectory() as folder:
        serve(operations(client, Path(folder)))


if __name__ == "__main__":
    main()
