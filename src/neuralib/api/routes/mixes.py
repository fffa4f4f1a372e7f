"""Mixes of a track's stems."""

from neuralib.api import mixes
from neuralib.api.schemas.mixes import NewMix
from neuralib.entities import Scope

from .jobs import REFUSED, SUBMITTED, WAIT
from .route import V1, Route

ROUTES: tuple[Route, ...] = (
    Route(
        "mix_asset",
        "POST",
        f"{V1}/assets/{{asset}}/mix",
        mixes.mix_asset,
        "Mix the stems of a track anew: without its vocals, or with other levels.",
        SUBMITTED,
        body=NewMix,
        headers=WAIT,
        problems=REFUSED,
        scope=Scope.JOBS,
    ),
)
