"""Stem files."""

from neuralib.api import stem_files
from neuralib.api.schemas.stem_files import NewStemFile
from neuralib.entities import Scope

from .jobs import REFUSED, SUBMITTED, WAIT
from .route import V1, Route

ROUTES: tuple[Route, ...] = (
    Route(
        "make_stem_file",
        "POST",
        f"{V1}/assets/{{asset}}/stem-file",
        stem_files.make_stem_file,
        "A track and its four stems in one MP4 that DJ software mixes (.stem.mp4).",
        SUBMITTED,
        body=NewStemFile,
        headers=WAIT,
        problems=REFUSED,
        scope=Scope.JOBS,
    ),
)
