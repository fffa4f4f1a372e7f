"""Finding assets, and tags."""

from neuralib import errors
from neuralib.api import finding
from neuralib.api.schemas.assets import AssetPage
from neuralib.api.schemas.finding import AssetsQuery, FindQuery, SuggestQuery, TagList, TagsQuery
from neuralib.entities import Scope

from .route import V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "find_assets",
        "GET",
        f"{V1}/assets",
        finding.find_assets,
        "Search all your libraries.",
        {200: json_of(AssetPage, "A page.", "Link")},
        query=FindQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "list_assets",
        "GET",
        f"{V1}/libraries/{{library}}/assets",
        finding.list_assets,
        "The assets of a library: its roots, the children of one, or all.",
        {200: json_of(AssetPage, "A page.", "Link")},
        query=AssetsQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "list_tags",
        "GET",
        f"{V1}/tags",
        finding.list_tags,
        "Your tags and how many assets have each, the commonest first.",
        {200: json_of(TagList)},
        query=TagsQuery,
        scope=Scope.READ,
    ),
    Route(
        "suggest_tags",
        "GET",
        f"{V1}/tags/suggest",
        finding.suggest_tags,
        "Tags that begin so.",
        {200: json_of(TagList)},
        query=SuggestQuery,
        scope=Scope.READ,
    ),
)
