"""Exports: archives of libraries and assets."""

from neuralib import errors
from neuralib.api import exports
from neuralib.api.schemas.exports import ArchiveQuery
from neuralib.entities import Scope

from .route import V1, Answer, Route

ZIP = Answer("The zip, made as it is sent.", None, exports.ZIP, ("Content-Disposition", "Content-Length"))
PROBLEMS = (errors.ValidationFailed, errors.StorageUnavailable)

ROUTES: tuple[Route, ...] = (
    Route(
        "export_library",
        "GET",
        f"{V1}/libraries/{{library}}/export.zip",
        exports.export_library,
        "Everything in a library as a zip: a folder for each track, a manifest, the licences of the weights.",
        {200: ZIP},
        query=ArchiveQuery,
        problems=PROBLEMS,
        scope=Scope.READ,
    ),
    Route(
        "export_asset",
        "GET",
        f"{V1}/assets/{{asset}}/export.zip",
        exports.export_asset,
        "An asset and everything made from it as a zip.",
        {200: ZIP},
        query=ArchiveQuery,
        problems=PROBLEMS,
        scope=Scope.READ,
    ),
)
