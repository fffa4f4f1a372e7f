"""The process itself."""

from neuralib import errors
from neuralib.api import docs, health
from neuralib.api.schemas.service import Health, Readiness

from .route import HTML, IF_NONE_MATCH, JSON, PUBLIC, UNCHANGED, Answer, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "healthz",
        "GET",
        "/healthz",
        health.healthz,
        "Is the process up?",
        {200: json_of(Health)},
        limited=False,
        scope=PUBLIC,
    ),
    Route(
        "readyz",
        "GET",
        "/readyz",
        health.readyz,
        "Can it do all of its work?",
        {200: json_of(Readiness)},
        problems=(errors.NotReady,),
        scope=PUBLIC,
    ),
    Route(
        "openapi",
        "GET",
        "/openapi.json",
        docs.get_openapi,
        "This description (OpenAPI 3.1).",
        {200: Answer("The description.", None, JSON, ("ETag",)), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=PUBLIC,
    ),
    Route(
        "docs",
        "GET",
        "/docs",
        docs.get_docs,
        "The same as a page.",
        {200: Answer("The page.", None, HTML)},
        scope=PUBLIC,
    ),
)
