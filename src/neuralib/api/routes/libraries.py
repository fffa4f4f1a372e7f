"""Libraries."""

from neuralib import errors
from neuralib.api import libraries
from neuralib.api.schemas.base import PageQuery
from neuralib.api.schemas.libraries import Library, LibraryPage, LibraryPatch, NewLibrary
from neuralib.api.schemas.trash import DeleteQuery
from neuralib.entities import Scope

from .route import GONE, IF_MATCH, IF_NONE_MATCH, JSON, MERGE_PATCH, UNCHANGED, V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "list_libraries",
        "GET",
        f"{V1}/libraries",
        libraries.list_libraries,
        "Your libraries, newest first.",
        {200: json_of(LibraryPage, "A page.", "Link")},
        query=PageQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "create_library",
        "POST",
        f"{V1}/libraries",
        libraries.create_library,
        "Make a library.",
        {201: json_of(Library, "Made.", "Location", "ETag")},
        body=NewLibrary,
        scope=Scope.WRITE,
    ),
    Route(
        "get_library",
        "GET",
        f"{V1}/libraries/{{library}}",
        libraries.get_library,
        "One library.",
        {200: json_of(Library, "As asked.", "ETag"), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=Scope.READ,
    ),
    Route(
        "update_library",
        "PATCH",
        f"{V1}/libraries/{{library}}",
        libraries.update_library,
        "Change name, description or colour (merge patch, RFC 7396).",
        {200: json_of(Library, "Changed.", "ETag")},
        body=LibraryPatch,
        media_types=(MERGE_PATCH, JSON),
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed,),
        scope=Scope.WRITE,
    ),
    Route(
        "delete_library",
        "DELETE",
        f"{V1}/libraries/{{library}}",
        libraries.delete_library,
        "Move a library and everything in it to the trash, or delete it for good.",
        {204: GONE},
        query=DeleteQuery,
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed, errors.AssetInUse),
        scope=Scope.WRITE,
    ),
)
