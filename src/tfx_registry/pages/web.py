"""The web pages over a registry: read-only, for one person or a small team.

Only GET and HEAD are answered, and what the pages hold of the registry has no method that writes.
Needs the extra `ui`.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import flask
import werkzeug.exceptions

from tfx_registry.errors import (
    InvalidInputError,
    NotFoundError,
    RegistryError,
    StoreUnavailableError,
)
from tfx_registry.gate.html import Recorded, render_html
from tfx_registry.gating import report_of
from tfx_registry.pages.api import answer, api_blueprint
from tfx_registry.pages.document import model_document, version_document
from tfx_registry.pages.guard import Guard, cookie_name, security_headers
from tfx_registry.pages.listing import history_page, model_list
from tfx_registry.pages.page import (
    assets,
    environment,
    render_page,
    script_json,
    security_policy,
    single_policy,
)
from tfx_registry.pages.view import RegistryView
from tfx_registry.registry.event_text import describe_event
from tfx_registry.registry.events import Decided
from tfx_registry.text import closest

__all__ = ["make_app"]

_logger = logging.getLogger(__name__)

#: So many versions and their events are on the page of a model at most.
NEWEST = 1000
_FOUND = 50
#: The page asks for the lineage of other versions when somebody wants it.
_GRAPHS = 3
_STATUS: tuple[tuple[type[RegistryError], int], ...] = (
    (NotFoundError, 404),
    (InvalidInputError, 400),
    (StoreUnavailableError, 503),
)


def make_app(view: RegistryView, guard: Guard, *, title: str = "") -> flask.Flask:
    """Makes the application.

    Args:
        view: The registry; threads share it.
        guard: Who may ask.
        title: What the pages call the registry, such as its URI; it holds no password.

    Returns:
        The application (WSGI).
    """
    app = flask.Flask("tfx_registry.pages", static_folder=None)
    app.url_map.strict_slashes = False
    app.register_blueprint(api_blueprint(view, NEWEST), url_prefix="/api")
    _add_guard(app, guard)
    _add_errors(app, view)
    pages = _Pages(view, title)
    app.add_url_rule("/favicon.ico", "icon", lambda: flask.Response(status=204), methods=["GET"])
    for rule, function in (
        ("/", pages.models),
        ("/search", pages.search),
        ("/compare", pages.compare),
        ("/models/<model>", pages.model),
        ("/models/<model>/history", pages.history),
        ("/models/<model>/versions/<int:number>", pages.version),
        ("/models/<model>/versions/<int:number>/lineage", pages.lineage),
        ("/models/<model>/versions/<int:number>/decision", pages.decision),
    ):
        app.add_url_rule(rule, view_func=function, methods=["GET"])
    return app


class _Pages:
    """One method for each page."""

    def __init__(self, view: RegistryView, title: str) -> None:
        self._view = view
        self._title = title

    def models(self) -> str:
        """Lists the models."""
        return self._render("models", found=model_list(self._view, flask.request.args))

    def search(self) -> str | tuple[str, int]:
        """Finds versions by an expression of the search language."""
        asked = flask.request.args
        expression, error, page = asked.get("q", ""), None, None
        try:
            page = self._view.search(
                expression,
                limit=_FOUND,
                page_token=asked.get("page_token"),
                order_by=asked.get("order_by") or None,
            )
        except InvalidInputError as wrong:
            error = wrong
        text = self._render(
            "search",
            expression=expression,
            order_by=asked.get("order_by", ""),
            error=error,
            versions=page or [],
            token=page.next_page_token if page is not None else None,
        )
        return (text, 400) if error is not None else text

    def model(self, model: str) -> str:
        """The model page, live."""
        document = model_document(self._view, model, newest=NEWEST, graphs=_GRAPHS)
        base = f"/models/{document['model']}"
        live = {"home": "/", "base": base, "api": f"/api{base}"}
        return render_page(document, live=live)

    def version(self, model: str, number: int) -> str:
        """Everything about one version."""
        version = self._view.get(model, number)
        head = self._view.head(model)
        return self._render(
            "version",
            version=version,
            head=head,
            decisions=self._view.decisions(model, number)[::-1],
            neighbours=[n for n in (number - 1, number + 1) if n in head.numbers()],
        )

    def compare(self) -> str:
        """Two versions side by side."""
        a, b = flask.request.args.get("a", ""), flask.request.args.get("b", "")
        comparison = self._view.compare(a, b) if a and b else None
        return self._render("compare", a=a, b=b, comparison=comparison)

    def history(self, model: str) -> str:
        """What happened to a model, a page at a time."""
        page = history_page(self._view, model, flask.request.args)
        return self._render("history", page=page, what=describe_event)

    def lineage(self, model: str, number: int) -> str:
        """The lineage of one version, as a picture and in words."""
        document = version_document(self._view, model, number)
        flask.g.policy = single_policy()
        base = f"/models/{document['model']}"
        return self._render(
            "lineage",
            number=number,
            document=document,
            data=script_json(document),
            address=script_json({"home": "/", "base": base, "api": f"/api{base}", "single": True}),
        )

    def decision(self, model: str, number: int) -> str:
        """The report of the gate, as VersionGate writes it."""
        version = self._view.get(model, number)
        event = self._view.last_decision(model, number)
        decided = event.payload if event else None
        report = report_of(decided) if isinstance(decided, Decided) else None
        if event is None or report is None or not isinstance(decided, Decided):
            raise NotFoundError(
                f"no report of the gate on {version.ref}",
                "it has not decided, or its report was not kept",
                "see the page of the version",
            )
        page = render_html(
            report,
            Recorded(
                event.seq,
                event.time,
                event.actor,
                event.reason,
                version.override,
                str(decided.run),
            ),
        )
        flask.g.policy = _policy_for_style(page)
        return page

    def _render(self, name: str, **values: Any) -> str:
        template = environment().get_template(f"{name}.html.j2")
        return template.render(assets=assets(), registry=self._title, **values)


def _add_guard(app: flask.Flask, guard: Guard) -> None:
    @app.before_request
    def check() -> flask.Response | None:
        asked = flask.request
        if asked.method not in ("GET", "HEAD"):
            raise werkzeug.exceptions.MethodNotAllowed(["GET", "HEAD"])
        if not guard.knows_host(asked.headers.get("Host", "")):
            raise werkzeug.exceptions.BadRequest(
                "This server does not go by the name that was asked for; --allowed-host adds one."
            )
        shown = asked.args.get("token")
        if shown is not None and guard.is_token(shown):
            return _without_token(guard)
        cookie = asked.cookies.get(cookie_name(asked.environ["SERVER_PORT"]), "")
        if not guard.may_pass(cookie, asked.headers.get("Authorization") or ""):
            raise werkzeug.exceptions.Unauthorized(
                "Add ?token=... with the token of this server to the address, once."
            )
        return None

    @app.after_request
    def protect(response: flask.Response) -> flask.Response:
        policy = flask.g.get("policy") or security_policy(live=True)
        for name, value in security_headers(policy).items():
            response.headers[name] = value
        return response


def _without_token(guard: Guard) -> flask.Response:
    """Sends the visitor to the same address without the token, with a cookie in its place."""
    asked = flask.request
    others = [(key, value) for key, value in asked.args.items(multi=True) if key != "token"]
    # A path such as //elsewhere would lead to another host, and so would one with a tab in it.
    target = "/" + quote(asked.path.lstrip("/\\")) + (f"?{urlencode(others)}" if others else "")
    response = flask.redirect(target, 303)
    name = cookie_name(asked.environ["SERVER_PORT"])
    response.set_cookie(name, guard.session, httponly=True, samesite="Lax", path="/")
    return flask.make_response(response)


def _add_errors(app: flask.Flask, view: RegistryView) -> None:
    @app.errorhandler(RegistryError)
    def refused(error: RegistryError) -> flask.Response:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        meant = ""
        if isinstance(error, NotFoundError) and error.model is not None:
            meant = closest(error.model, (head.model for head in view.list_models()))
        return _error(status, error.what, error.why, meant or error.todo)

    @app.errorhandler(werkzeug.exceptions.HTTPException)
    def failed(error: werkzeug.exceptions.HTTPException) -> flask.Response:
        response = _error(error.code or 500, error.name, error.description or "", "")
        for name, value in error.get_headers():
            if name in ("Allow", "WWW-Authenticate"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> flask.Response:
        # Neither the query, which may hold the token, nor what the error says goes to the visitor.
        _logger.error("cannot answer %r", flask.request.path, exc_info=error)
        return _error(500, "this page could not be made", type(error).__name__, "see the log")


def _error(status: int, what: str, why: str, todo: str) -> flask.Response:
    if flask.request.path.startswith("/api/"):
        return answer({"error": {"what": what, "why": why, "todo": todo}}, status)
    template = environment().get_template("error.html.j2")
    text = template.render(
        assets=assets(), registry="", status=status, what=what, why=why, todo=todo
    )
    return flask.Response(text, status, mimetype="text/html")


def _policy_for_style(page: str) -> str:
    """Returns the policy of a page that has a style of its own and no script."""
    found = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = hashlib.sha256((found[1] if found else "").encode("utf-8")).digest()
    allowed: Mapping[str, str] = {
        "default-src": "'none'",
        "style-src": f"'sha256-{base64.b64encode(digest).decode('ascii')}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in allowed.items())
