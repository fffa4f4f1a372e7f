"""Models."""

from neuralib import errors
from neuralib.api import models
from neuralib.api.schemas.jobs import Job
from neuralib.api.schemas.models import ModelList, ModelsQuery
from neuralib.entities import Scope

from .route import V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "list_models",
        "GET",
        f"{V1}/models",
        models.list_models,
        "The installed models: parameters, weights and their licences, and who serves them.",
        {200: json_of(ModelList)},
        query=ModelsQuery,
        scope=Scope.READ,
    ),
    Route(
        "pull_weights",
        "POST",
        f"{V1}/models/{{model}}/checkpoints/{{checkpoint}}/pull",
        models.pull_weights,
        "Have a worker of the model fetch these weights into the cache of its host, as a job with progress in bytes; where "
        "they are, their digest is checked. Other hosts fetch them when they first need them.",
        {
            202: json_of(Job, "Accepted: it will end in one result or one error.", "Location"),
            200: json_of(Job, "They are on their way already.", "Location"),
        },
        problems=(errors.ModelLicenseForbidden, errors.NothingToFetch, errors.Offline),
        scope=Scope.ADMIN,
    ),
)
