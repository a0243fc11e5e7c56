"""Pages for people: what serves and since when, what became of each version, and why.

`model_page` writes one HTML file that needs nothing else. `tfx_registry.pages.web` holds the same
pages live; it needs the extra `ui` and is imported by the command alone.
"""

from __future__ import annotations

from tfx_registry.pages.document import FORMAT, model_document
from tfx_registry.pages.page import model_page, render_page

__all__ = ["FORMAT", "model_document", "model_page", "render_page"]
