"""Peaks: what is drawn of an asset."""

from neuralib import errors
from neuralib.api import peaks
from neuralib.api.schemas.peaks import Peaks, PeaksQuery, Rendering
from neuralib.entities import Scope
from neuralib.objects.store import OCTETS

from .route import IF_NONE_MATCH, JSON, UNCHANGED, V1, Answer, Route, json_of

RENDERING = json_of(Rendering, "It is being made: ask again.", "Retry-After")

ROUTES: tuple[Route, ...] = (
    Route(
        "get_peaks",
        "GET",
        f"{V1}/assets/{{asset}}/peaks",
        peaks.get_peaks,
        "The waveform of an asset at one of seven resolutions, as audiowaveform writes it: for wavesurfer and peaks.js.",
        {
            200: Answer("From the asked moment on.", Peaks, JSON, ("ETag", "Cache-Control"), also=(OCTETS,)),
            202: RENDERING,
            304: UNCHANGED,
        },
        query=PeaksQuery,
        headers=IF_NONE_MATCH,
        problems=(
            errors.NotAudio,
            errors.AssetEvicted,
            errors.ValidationFailed,
            errors.DecodeFailed,
            errors.StorageUnavailable,
            errors.TooBusy,
        ),
        scope=Scope.READ,
    ),
)
