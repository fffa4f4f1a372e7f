"""The route table and the schemas as OpenAPI 3.1."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from neuralib import __version__
from neuralib.errors import NeuralibError
from neuralib.objects.store import OCTETS

from .auth import cookies
from .problems import MEDIA_TYPE, retry_after_s, status_of
from .routes import FORM, Route, every_problem, known_headers
from .schemas.problems import Problem

REF = "#/components/schemas/{model}"
ID = {"type": "string", "format": "uuid"}
SLUG = {"type": "string"}
NAMED = {"slug": SLUG, "model": SLUG, "checkpoint": SLUG, "number": {"type": "integer", "minimum": 1}}
"""What a path calls something that has no id."""
SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key (`nlk_…`); or the shared token when auth.mode is `token`, a JWT of the issuer when it is `oidc`. Not asked for when it is `none`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": cookies.HOST,
        "description": "From POST /session; for pages of this origin.",
    },
}


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document."""
    routes = list(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
        if route.name == "get_content":
            paths[route.path]["head"] = {**_operation(route), "operationId": "head_content"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NeuraLib",
            "version": __version__,
            "summary": "A song goes in; stems, notes, words and samples come out, kept in a library.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": SECURITY,
        },
    }


def _models(routes: Iterable[Route]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = [Problem]
    for route in routes:
        found += [model for model in (route.body, route.form) if model is not None]
        found += [answer.model for answer in route.answers.values() if answer.model is not None]
    return list(dict.fromkeys(found))


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    named = [(model, "validation") for model in _models(routes)]
    _, document = models_json_schema(named, ref_template=REF)  # type: ignore[arg-type]
    found: dict[str, Any] = document["$defs"]
    for route in routes:  # a query is no schema of its own, but what its parameters refer to is
        found |= route.query.model_json_schema(ref_template=REF).get("$defs", {})
    return dict(sorted(found.items()))


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_path(route), *_query(route), *_headers(route)],
        "responses": _responses(route),
    }
    model = route.body or route.form
    if model is not None:
        schema = {"$ref": REF.format(model=model.__name__)}
        operation["requestBody"] = {
            "required": True,
            "content": {media: {"schema": schema} for media in route.media_types},
        }
        if FORM in route.media_types:
            operation["requestBody"]["content"][FORM]["encoding"] = {
                "meta": {"contentType": "application/json"}
            }
    if route.octets:
        operation["requestBody"] = {"required": True, "content": {OCTETS: {"schema": {}}}}
    # The lists name the scopes that are needed (OpenAPI 3.1); `{}` is auth.mode "none".
    operation["security"] = (
        [{}]
        if route.scope is None
        else [
            {"bearer": [route.scope]},
            {"session": [route.scope]},
            {},
        ]
    )
    return operation


def _path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": NAMED.get(name, ID)}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query(route: Route) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema(ref_template=REF)
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "style": "form",
            "explode": False,
            "description": of.get("description", ""),
            "schema": {key: value for key, value in of.items() if key not in {"description", "title"}},
        }
        for name, of in schema.get("properties", {}).items()
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in known_headers(route).items()
    ]


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in route.answers.items():
        responses[str(status)] = {"description": answer.description}
        if answer.headers:
            responses[str(status)]["headers"] = _reply_headers(answer.headers)
        if answer.media_type is not None:
            schema = {"$ref": REF.format(model=answer.model.__name__)} if answer.model else {}
            responses[str(status)]["content"] = {
                answer.media_type: {"schema": schema},
                **{media: {"schema": {}} for media in answer.also},
            }
    for status, kinds in _by_status(every_problem(route)).items():
        responses[str(status)] = _problem(kinds)
    return dict(sorted(responses.items()))


def _reply_headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"schema": {"type": "string"}} for name in names}


def _by_status(kinds: Iterable[type[NeuralibError]]) -> Mapping[int, list[type[NeuralibError]]]:
    found: dict[int, list[type[NeuralibError]]] = {}
    for kind in kinds:
        found.setdefault(status_of(kind), []).append(kind)
    return found


def _problem(kinds: list[type[NeuralibError]]) -> dict[str, Any]:
    lines = [f"`{kind.code}`: {kind.title()}." for kind in kinds]
    body: dict[str, Any] = {
        "description": "\n\n".join(lines),
        "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model=Problem.__name__)}}},
    }
    if any(retry_after_s(kind) is not None for kind in kinds):
        body["headers"] = _reply_headers(["Retry-After"])
    return body
