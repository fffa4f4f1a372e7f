"""Many assets at once."""

from neuralib import errors
from neuralib.api import bulk
from neuralib.api.schemas.bulk import BulkChange, BulkResult
from neuralib.entities import Scope

from .route import V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "change_assets",
        "POST",
        f"{V1}/assets/bulk",
        bulk.change_assets,
        "Change, move, copy, trash or restore many assets: all of them or none.",
        {200: json_of(BulkResult, "Done.")},
        body=BulkChange,
        problems=(errors.NotFound, errors.AssetInUse, errors.Conflict),
        scope=Scope.WRITE,
    ),
)
