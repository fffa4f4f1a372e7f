"""The description of the API is whole: every route, every parameter, every reference."""

import json
import re
import typing

from neuralib.api.openapi import describe
from neuralib.api.problems import MEDIA_TYPE, status_of
from neuralib.api.routes import ROUTES, every_problem
from neuralib.api.schemas.base import NoQuery

DOCUMENT = describe(ROUTES)


def test_every_route_of_the_table_is_described_once() -> None:
    described = {(m, p) for p, operations in DOCUMENT["paths"].items() for m in operations}
    assert described - {("head", "/api/v1/assets/{asset}/content")} == {
        (r.method.lower(), r.path) for r in ROUTES
    }
    names = [route.name for route in ROUTES]
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere() -> None:
    used = set(re.findall(r'"\$ref": "(.*?)"', json.dumps(DOCUMENT)))
    assert used <= {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


def test_every_operation_says_what_it_takes_and_how_it_may_end() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            placed = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert placed == set(re.findall(r"{(\w+)}", path))
            assert operation["summary"].endswith((".", "?"))
            assert any(status.startswith("2") for status in operation["responses"])
            assert "500" in operation["responses"]


def test_every_error_that_a_route_may_answer_is_named_under_its_status() -> None:
    for route in ROUTES:
        responses = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
        for kind in every_problem(route):
            told = responses[str(status_of(kind))]
            assert f"`{kind.code}`" in told["description"], (route.name, kind)
            assert MEDIA_TYPE in told["content"], (route.name, kind)


def test_handlers_take_what_the_table_says() -> None:
    for route in ROUTES:
        hints = typing.get_type_hints(route.handler)
        assert hints.get("query", NoQuery) is route.query, route.name
        assert hints.get("body") is route.body, route.name


def test_replies_may_grow_and_requests_may_not() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert "additionalProperties" not in schemas["Job"]
    assert schemas["NewJob"]["additionalProperties"] is False
