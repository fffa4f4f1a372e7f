"""What was made from what; bytes that go and are made again."""

from neuralib import errors
from neuralib.api import derivations
from neuralib.api.schemas.assets import Asset
from neuralib.api.schemas.derivations import Lineage, LineageQuery
from neuralib.api.schemas.jobs import Job
from neuralib.entities import Scope

from .route import JSON, V1, Answer, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "get_lineage",
        "GET",
        f"{V1}/assets/{{asset}}/lineage",
        derivations.get_lineage,
        "What an asset was made from and what was made from it, with recipes.",
        {200: Answer("As asked.", Lineage, JSON, also=(derivations.DOT,))},
        query=LineageQuery,
        scope=Scope.READ,
    ),
    Route(
        "evict_asset",
        "POST",
        f"{V1}/assets/{{asset}}/evict",
        derivations.evict_asset,
        "Let the bytes of an asset go that a job made; its row and its recipe stay.",
        {200: json_of(Asset, "Its bytes are gone: `content` answers 410 until it is made again.", "ETag")},
        problems=(errors.CannotRebuild, errors.AssetInUse, errors.Conflict),
        scope=Scope.WRITE,
    ),
    Route(
        "rebuild_asset",
        "POST",
        f"{V1}/assets/{{asset}}/rebuild",
        derivations.rebuild_asset,
        "Make the bytes of an evicted asset again, by its recipe. `facts.rebuilt` then tells whether they are the same.",
        {202: json_of(Job, "The job that makes them.", "Location")},
        problems=(
            errors.Conflict,
            errors.CannotRebuild,
            errors.AssetEvicted,
            errors.TooManyJobs,
            errors.QuotaExceeded,
        ),
        scope=Scope.JOBS,
    ),
)
