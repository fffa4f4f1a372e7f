"""Every error has its status, and what happened inside us stays inside."""

from collections.abc import Iterator

import pytest
from aiohttp import web

from neuralib import errors
from neuralib.api.problems import STATUS, problem, status_of, translate
from neuralib.errors import NeuralibError


def every_error(base: type[NeuralibError] = NeuralibError) -> Iterator[type[NeuralibError]]:
    yield base
    for kind in base.__subclasses__():
        yield from every_error(kind)


def test_every_error_of_ours_has_a_status() -> None:
    ours = {kind for kind in every_error() if kind.__module__ == errors.__name__}
    assert ours == STATUS.keys()


def test_codes_are_unique_and_titles_are_one_line() -> None:
    codes = [kind.code for kind in STATUS]
    assert len(codes) == len(set(codes))
    assert all(kind.title() and "\n" not in kind.title() for kind in STATUS)


def test_what_may_pass_is_not_a_client_error() -> None:
    for kind, status in STATUS.items():
        if issubclass(kind, errors.Unavailable):
            assert status in {429, 500, 503, 507}
        if issubclass(kind, errors.Conflict):
            assert status == 409


def test_a_plug_ins_own_error_takes_the_status_of_its_base() -> None:
    class OutOfTune(errors.ValidationFailed):
        """The piano is out of tune."""

        code = "out-of-tune"

    assert status_of(OutOfTune) == 422


@pytest.mark.parametrize(
    "error",
    [
        errors.DatabaseUnavailable("PostgreSQL: connect call failed ('10.0.0.7', 5432)"),
        errors.NeuralibError("/srv/secret/place"),
        translate(RuntimeError("/srv/secret/place")),
        translate(OSError(28, "No space left on device", "/srv/secret/place")),
    ],
)
def test_why_a_server_of_ours_failed_is_not_told(error: NeuralibError) -> None:
    told = problem(error, instance="/x", request_id="r")
    assert told["detail"] == error.title()
    assert told["type"] == f"https://neuralib.dev/problems/{error.code}"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (web.HTTPNotFound(), errors.NotFound),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), errors.MethodNotAllowed),
        (web.HTTPRequestEntityTooLarge(1), errors.PayloadTooLarge),
        (web.HTTPGone(), errors.BadRequest),
        (TimeoutError(), errors.Unavailable),
        (KeyError("x"), errors.NeuralibError),
    ],
)
def test_what_others_raise_becomes_ours(raised: Exception, kind: type[NeuralibError]) -> None:
    assert type(translate(raised)) is kind
