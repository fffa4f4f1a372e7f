"""The trash."""

from neuralib import errors
from neuralib.api import trash
from neuralib.api.schemas.assets import Asset
from neuralib.api.schemas.base import PageQuery
from neuralib.api.schemas.libraries import Library
from neuralib.api.schemas.trash import Emptied, TrashPage
from neuralib.entities import Scope

from .route import V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "list_trash",
        "GET",
        f"{V1}/trash",
        trash.list_trash,
        "What you threw away, newest first. Elsewhere it is not found.",
        {200: json_of(TrashPage, "A page.", "Link")},
        query=PageQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "empty_trash",
        "POST",
        f"{V1}/trash/empty",
        trash.empty_trash,
        "Delete for good what is in the trash.",
        {200: json_of(Emptied, "Done.")},
        scope=Scope.WRITE,
    ),
    Route(
        "restore_asset",
        "POST",
        f"{V1}/assets/{{asset}}/restore",
        trash.restore_asset,
        "Take an asset out of the trash, with what went along with it.",
        {200: json_of(Asset, "It is back.", "ETag")},
        problems=(errors.Conflict,),
        scope=Scope.WRITE,
    ),
    Route(
        "restore_library",
        "POST",
        f"{V1}/libraries/{{library}}/restore",
        trash.restore_library,
        "Take a library out of the trash, with what went along with it.",
        {200: json_of(Library, "It is back.", "ETag")},
        scope=Scope.WRITE,
    ),
)
