"""Regions and markers of assets."""

from neuralib import errors
from neuralib.api import regions
from neuralib.api.schemas.regions import NewRegion, NewRegionSet, Region, RegionPatch, Regions
from neuralib.entities import Scope

from .route import GONE, IF_MATCH, IF_NONE_MATCH, JSON, MERGE_PATCH, UNCHANGED, V1, Route, json_of

SET = f"{V1}/assets/{{asset}}/regions"
ONE = f"{SET}/{{region}}"
MISPLACED = (errors.RegionOutOfBounds, errors.InputUnsupported)

ROUTES: tuple[Route, ...] = (
    Route(
        "list_regions",
        "GET",
        SET,
        regions.list_regions,
        "All regions and markers of an asset, in order of time.",
        {200: json_of(Regions, "As asked.", "ETag"), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=Scope.READ,
    ),
    Route(
        "replace_regions",
        "PUT",
        SET,
        regions.replace_regions,
        "Replace all regions of an asset at once; those sent with their id keep it.",
        {200: json_of(Regions, "Replaced.", "ETag")},
        body=NewRegionSet,
        headers=IF_MATCH,
        problems=(*MISPLACED, errors.PreconditionFailed),
        scope=Scope.WRITE,
    ),
    Route(
        "create_region",
        "POST",
        SET,
        regions.create_region,
        "Add a region or a marker.",
        {201: json_of(Region, "Added.", "Location", "ETag")},
        body=NewRegion,
        problems=MISPLACED,
        scope=Scope.WRITE,
    ),
    Route(
        "get_region",
        "GET",
        ONE,
        regions.get_region,
        "One region.",
        {200: json_of(Region, "As asked.", "ETag"), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=Scope.READ,
    ),
    Route(
        "update_region",
        "PATCH",
        ONE,
        regions.update_region,
        "Move, name or colour a region (merge patch, RFC 7396).",
        {200: json_of(Region, "Changed.", "ETag")},
        body=RegionPatch,
        media_types=(MERGE_PATCH, JSON),
        headers=IF_MATCH,
        problems=(*MISPLACED, errors.PreconditionFailed),
        scope=Scope.WRITE,
    ),
    Route(
        "delete_region",
        "DELETE",
        ONE,
        regions.delete_region,
        "Delete a region.",
        {204: GONE},
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed,),
        scope=Scope.WRITE,
    ),
)
