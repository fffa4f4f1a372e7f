"""Assets: rows, uploads, bytes."""

from neuralib import errors
from neuralib.api import assets, content, uploads
from neuralib.api.schemas.assets import (
    Asset,
    AssetPatch,
    UploadForm,
    UploadResult,
)
from neuralib.api.schemas.content import ContentLink, ContentQuery, NewLink
from neuralib.api.schemas.trash import DeleteQuery
from neuralib.entities import Scope

from .peaks import RENDERING
from .route import (
    ANY,
    FORM,
    GONE,
    IF_MATCH,
    IF_NONE_MATCH,
    JSON,
    MERGE_PATCH,
    UNCHANGED,
    V1,
    Answer,
    Route,
    json_of,
)

ROUTES: tuple[Route, ...] = (
    Route(
        "upload_assets",
        "POST",
        f"{V1}/libraries/{{library}}/assets",
        uploads.upload_assets,
        "Upload audio files.",
        {201: json_of(UploadResult, "At least one file is in; `items` tells of each.", "Location")},
        form=UploadForm,
        skim=uploads.skim,
        media_types=(FORM,),
        problems=(
            errors.MalformedMultipart,
            errors.EmptyUpload,
            errors.ValidationFailed,
            errors.UnsupportedAudio,
            errors.DecodeFailed,
            errors.NonFiniteAudio,
            errors.AudioTooShort,
            errors.AudioTooLong,
            errors.StorageUnavailable,
            errors.QuotaExceeded,
            errors.InvalidJSON,
        ),
        scope=Scope.WRITE,
    ),
    Route(
        "get_asset",
        "GET",
        f"{V1}/assets/{{asset}}",
        assets.get_asset,
        "One asset.",
        {200: json_of(Asset, "As asked.", "ETag"), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=Scope.READ,
    ),
    Route(
        "update_asset",
        "PATCH",
        f"{V1}/assets/{{asset}}",
        assets.update_asset,
        "Change what people say of an asset: name, tags, rating and the like (merge patch, RFC 7396).",
        {200: json_of(Asset, "Changed.", "ETag")},
        body=AssetPatch,
        media_types=(MERGE_PATCH, JSON),
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed,),
        scope=Scope.WRITE,
    ),
    Route(
        "delete_asset",
        "DELETE",
        f"{V1}/assets/{{asset}}",
        assets.delete_asset,
        "Move an asset and everything made from it to the trash, or delete it for good.",
        {204: GONE},
        query=DeleteQuery,
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed, errors.AssetInUse),
        scope=Scope.WRITE,
    ),
    Route(
        "get_content",
        "GET",
        f"{V1}/assets/{{asset}}/content",
        content.get_content,
        "The bytes of an asset; HEAD tells their size.",
        {
            200: Answer("All of them.", None, ANY, ("ETag", "Accept-Ranges", "Content-Disposition")),
            202: RENDERING,
            206: Answer("The range.", None, ANY, ("ETag", "Content-Range")),
            302: Answer("They are there.", headers=("Location",)),
            304: UNCHANGED,
        },
        query=ContentQuery,
        headers={
            "Range": "One range of bytes.",
            "If-Range": "The ETag that the range is for; another one gets the whole.",
            **IF_NONE_MATCH,
        },
        problems=(
            errors.RangeNotSatisfiable,
            errors.AssetEvicted,
            errors.NotAudio,
            errors.DecodeFailed,
            errors.StorageUnavailable,
            errors.TooBusy,
        ),
        scope=Scope.READ,
    ),
    Route(
        "create_link",
        "POST",
        f"{V1}/assets/{{asset}}/url",
        content.create_link,
        "A URL of the bytes for whoever cannot send credentials, good for a quarter of an hour at most.",
        {201: json_of(ContentLink, "It is secret."), 202: RENDERING},
        body=NewLink,
        problems=(
            errors.AssetEvicted,
            errors.NotAudio,
            errors.DecodeFailed,
            errors.StorageUnavailable,
            errors.TooBusy,
        ),
        scope=Scope.READ,
    ),
)
