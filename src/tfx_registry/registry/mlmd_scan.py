"""Walks over everything in ML Metadata, page by page: for checks of the whole store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ml_metadata.proto import metadata_store_pb2 as pb
from ml_metadata.proto import metadata_store_service_pb2 as service

from tfx_registry.registry.session import NothingFoundError

__all__ = ["nodes_of_type"]

T = TypeVar("T")

#: The most that ML Metadata gives at once.
_PAGE = 100


def nodes_of_type(
    read: Callable[[Callable[[Any], Any]], Any],
    kind: str,
    type_name: str,
    prefixes: tuple[str, ...] = (),
) -> Iterator[Any]:
    """Walks over all nodes of a type, and all with keys of it, whose type may have been lost.

    Nodes are asked for by their ids, without the type. ML Metadata's own look-up by type gives all
    at once (10 kB of memory for each), and its pages of one type each cost as much as all of them.
    A node that is added meanwhile may be among them.

    Args:
        read: `Session.read`.
        kind: "artifacts", "executions" or "contexts".
        type_name: Name of the type.
        prefixes: What keys begin with that count, too, whatever the type.

    Yields:
        The nodes.

    Raises:
        StoreUnavailableError: The store cannot be read.
    """
    method = f"Get{kind.capitalize()}"
    request = getattr(service, f"{method}Request")()
    request.options.max_result_size = _PAGE
    request.options.order_by_field.field = pb.ListOperationOptions.OrderByField.ID
    request.options.order_by_field.is_asc = True
    while True:
        response = getattr(service, f"{method}Response")()
        try:
            # The client's own method would gather all pages.
            read(lambda store, answer=response: store._call(method, request, answer))  # type: ignore[misc]
        except NothingFoundError:
            return
        yield from (
            node
            for node in getattr(response, kind)
            if node.type == type_name or node.external_id.startswith(prefixes)
        )
        if not response.next_page_token:
            return
        request.options.next_page_token = response.next_page_token
