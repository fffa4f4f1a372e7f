"""Server-Sent Events."""

from neuralib import errors
from neuralib.api import events
from neuralib.api.schemas.jobs import EventsQuery
from neuralib.entities import Scope

from .route import LAST_EVENT_ID, SSE, V1, Answer, Route

ROUTES: tuple[Route, ...] = (
    Route(
        "job_events",
        "GET",
        f"{V1}/jobs/{{job}}/events",
        events.job_events,
        "The events of one job from its beginning; ends after the last.",
        {
            200: Answer("Server-Sent Events.", None, SSE),
            204: Answer("The job has ended and there is nothing left to tell."),
        },
        query=EventsQuery,
        headers=LAST_EVENT_ID,
        problems=(errors.TooManyStreams,),
        scope=Scope.READ,
    ),
    Route(
        "owner_events",
        "GET",
        f"{V1}/events",
        events.owner_events,
        "All of your events from now on, or after the last one you saw.",
        {200: Answer("Server-Sent Events.", None, SSE)},
        query=EventsQuery,
        headers=LAST_EVENT_ID,
        problems=(errors.TooManyStreams,),
        scope=Scope.READ,
    ),
)
