"""The same answers as JSON, under /api: only reading, like the pages."""

from __future__ import annotations

import json
from typing import Any

import flask

from tfx_registry import codec
from tfx_registry.errors import InvalidInputError, NotFoundError
from tfx_registry.pages.document import HISTORY_COLUMNS, event_row, model_document, version_json
from tfx_registry.pages.listing import head_json, history_page, integer, model_list
from tfx_registry.pages.view import RegistryView

__all__ = ["api_blueprint"]

_LIMIT = 1000


def api_blueprint(view: RegistryView, newest: int) -> flask.Blueprint:
    """Makes the routes.

    Args:
        view: The registry.
        newest: So many versions are in the document of a model at most.

    Returns:
        The routes, without a prefix.
    """
    api = flask.Blueprint("api", __name__)

    @api.get("/models")
    def models() -> flask.Response:
        found = model_list(view, flask.request.args)
        return answer(
            {
                "models": [head_json(head) for head in found.heads],
                "page": found.page,
                "pages": found.pages,
                "count": found.count,
            }
        )

    @api.get("/search")
    def search() -> flask.Response:
        asked = flask.request.args
        page = view.search(
            asked.get("q", ""),
            model=asked.get("model") or None,
            limit=integer(asked, "limit", 100),
            page_token=asked.get("page_token"),
            order_by=asked.get("order_by") or None,
        )
        return answer(
            {
                "versions": [version_json(version) for version in page],
                "next_page_token": page.next_page_token,
            }
        )

    @api.get("/compare")
    def compare() -> flask.Response:
        asked = flask.request.args
        if not (asked.get("a") and asked.get("b")):
            raise InvalidInputError(
                "cannot compare", "two references are needed", "ask /api/compare?a=m:1&b=m:2"
            )
        return answer(codec.encode(view.compare(asked["a"], asked["b"])))

    @api.get("/models/<model>")
    def document(model: str) -> flask.Response:
        return answer(model_document(view, model, newest=newest))

    @api.get("/models/<model>/history")
    def history(model: str) -> flask.Response:
        page = history_page(view, model, flask.request.args, most=_LIMIT)
        return answer(
            {
                "columns": list(HISTORY_COLUMNS),
                "rows": [event_row(event) for event in page.events],
                "before": page.before,
            }
        )

    @api.get("/models/<model>/versions/<int:number>")
    def version(model: str, number: int) -> flask.Response:
        return answer(version_json(view.get(model, number)))

    @api.get("/models/<model>/versions/<int:number>/lineage")
    def lineage(model: str, number: int) -> flask.Response:
        return answer(view.lineage(model, number).to_json())

    @api.get("/models/<model>/versions/<int:number>/decision")
    def decision(model: str, number: int) -> flask.Response:
        event = view.last_decision(model, number)
        if event is None:
            raise NotFoundError(
                f"no gate decision on {model}:{number}", "none is recorded", "run VersionGate on it"
            )
        return answer(event.to_json())

    return api


def answer(value: Any, status: int = 200) -> flask.Response:
    """Writes a JSON value as an answer."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    body = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return flask.Response(body, status, mimetype="application/json")
