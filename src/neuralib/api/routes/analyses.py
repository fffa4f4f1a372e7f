"""Analyses: tempo, key, loudness, beats and onsets of an asset."""

from neuralib import errors
from neuralib.analyses import Analysis
from neuralib.api import analyses
from neuralib.entities import Scope

from .route import IF_NONE_MATCH, UNCHANGED, V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "get_analysis",
        "GET",
        f"{V1}/assets/{{asset}}/analysis",
        analyses.get_analysis,
        "What the newest analysis of an asset found.",
        {200: json_of(Analysis, "As found.", "ETag"), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        problems=(errors.NotAnalysed, errors.AssetEvicted, errors.StorageUnavailable),
        scope=Scope.READ,
    ),
)
