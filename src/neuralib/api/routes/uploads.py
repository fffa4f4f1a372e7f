"""Uploads in parts."""

from neuralib import errors
from neuralib.api import parted
from neuralib.api.schemas.assets import UploadOutcome
from neuralib.api.schemas.uploads import LinksQuery, NewUpload, PartLinks, Upload
from neuralib.entities import Scope

from .route import GONE, V1, Route, json_of

BASE = f"{V1}/uploads"

ROUTES: tuple[Route, ...] = (
    Route(
        "create_upload",
        "POST",
        BASE,
        parted.create_upload,
        "Announce a file that will come in parts: for large files and bad lines.",
        {201: json_of(Upload, "Now PUT its parts.", "Location")},
        body=NewUpload,
        problems=(
            errors.NotFound,
            errors.QuotaExceeded,
            errors.TooManyUploads,
            errors.StorageUnavailable,
        ),
        scope=Scope.WRITE,
    ),
    Route(
        "get_upload",
        "GET",
        f"{BASE}/{{upload}}",
        parted.get_upload,
        "An upload and which of its parts are there: go on with the others.",
        {200: json_of(Upload)},
        problems=(errors.StorageUnavailable,),
        scope=Scope.READ,
    ),
    Route(
        "list_links",
        "GET",
        f"{BASE}/{{upload}}/links",
        parted.list_links,
        "Where its parts go: to this service, or by signed URLs straight to the object store.",
        {200: json_of(PartLinks)},
        query=LinksQuery,
        problems=(errors.ValidationFailed, errors.Conflict, errors.StorageUnavailable),
        scope=Scope.WRITE,
    ),
    Route(
        "put_part",
        "PUT",
        f"{BASE}/{{upload}}/parts/{{number}}",
        parted.put_part,
        "One part. The same part may come again.",
        {204: GONE},
        octets=True,
        problems=(
            errors.ValidationFailed,
            errors.MalformedMultipart,
            errors.Conflict,
            errors.StorageUnavailable,
        ),
        scope=Scope.WRITE,
    ),
    Route(
        "complete_upload",
        "POST",
        f"{BASE}/{{upload}}/complete",
        parted.complete_upload,
        "Make the parts an asset. Ask again after a 202, and after any answer that did not come.",
        {
            201: json_of(UploadOutcome, "It is in.", "Location"),
            202: json_of(Upload, "It takes a while: ask again.", "Retry-After"),
        },
        problems=(
            errors.ValidationFailed,
            errors.UnsatisfiedChecksum,
            errors.EmptyUpload,
            errors.PayloadTooLarge,
            errors.UnsupportedAudio,
            errors.DecodeFailed,
            errors.NonFiniteAudio,
            errors.AudioTooShort,
            errors.AudioTooLong,
            errors.QuotaExceeded,
            errors.StorageUnavailable,
            errors.TooBusy,
            errors.Unavailable,
        ),
        scope=Scope.WRITE,
    ),
    Route(
        "delete_upload",
        "DELETE",
        f"{BASE}/{{upload}}",
        parted.delete_upload,
        "Forget an upload and its parts; what it has become stays.",
        {204: GONE},
        problems=(errors.Conflict, errors.StorageUnavailable),
        scope=Scope.WRITE,
    ),
)
