"""Onsets: where a slicer may cut an asset."""

from neuralib import errors
from neuralib.api import onsets
from neuralib.api.schemas.onsets import FoundOnsets
from neuralib.entities import Scope

from .peaks import RENDERING
from .route import IF_NONE_MATCH, UNCHANGED, V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "get_onsets",
        "GET",
        f"{V1}/assets/{{asset}}/onsets",
        onsets.get_onsets,
        "Where sounds begin in an asset and which sensitivity finds each: what slicing by onsets will cut at.",
        {
            200: json_of(FoundOnsets, "As they were found, once.", "ETag", "Cache-Control"),
            202: RENDERING,
            304: UNCHANGED,
        },
        headers=IF_NONE_MATCH,
        problems=(
            errors.NotAudio,
            errors.AssetEvicted,
            errors.DecodeFailed,
            errors.StorageUnavailable,
            errors.TooBusy,
        ),
        scope=Scope.READ,
    ),
)
