"""Every route in one table: what it is called, who handles it, what goes in and what comes out.

`make_app` registers from it, openapi.py documents from it, and a test walks both. A resource has a module here, one of
its bodies in schemas/, and one of handlers.
"""

from . import (
    analyses,
    assets,
    bulk,
    derivations,
    events,
    exports,
    finding,
    jobs,
    keys,
    libraries,
    mixes,
    models,
    onsets,
    peaks,
    readings,
    regions,
    runs,
    service,
    stem_files,
    transcripts,
    trash,
    uploads,
)
from .route import FORM, SSE, Handler, Route, every_problem, known_headers

__all__ = ["FORM", "ROUTES", "SSE", "Handler", "Route", "every_problem", "known_headers"]

ROUTES: tuple[Route, ...] = (
    *libraries.ROUTES,
    *finding.ROUTES,
    *bulk.ROUTES,
    *assets.ROUTES,
    *trash.ROUTES,
    *regions.ROUTES,
    *readings.ROUTES,
    *transcripts.ROUTES,
    *derivations.ROUTES,
    *peaks.ROUTES,
    *onsets.ROUTES,
    *uploads.ROUTES,
    *analyses.ROUTES,
    *exports.ROUTES,
    *jobs.ROUTES,
    *runs.ROUTES,
    *mixes.ROUTES,
    *stem_files.ROUTES,
    *events.ROUTES,
    *models.ROUTES,
    *keys.ROUTES,
    *service.ROUTES,
)
