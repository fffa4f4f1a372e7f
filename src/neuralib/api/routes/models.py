"""Models."""

from neuralib.api import models
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
)
