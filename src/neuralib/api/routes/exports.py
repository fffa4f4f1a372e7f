"""Exports: archives of libraries and assets; and imports, which bring them back."""

from neuralib import errors
from neuralib.api import exports, imports, uploads
from neuralib.api.schemas.exports import ArchiveQuery, Export, ImportForm, ImportResult, NewExport
from neuralib.entities import Scope

from .route import FORM, V1, Answer, Route, json_of

ZIP = Answer("The zip, made as it is sent.", None, exports.ZIP, ("Content-Disposition", "Content-Length"))
PROBLEMS = (errors.ValidationFailed, errors.StorageUnavailable)

ROUTES: tuple[Route, ...] = (
    Route(
        "export_library",
        "GET",
        f"{V1}/libraries/{{library}}/export.zip",
        exports.export_library,
        "Everything in a library as a zip: a folder for each track, a manifest, the licences of the weights.",
        {200: ZIP},
        query=ArchiveQuery,
        problems=PROBLEMS,
        scope=Scope.READ,
    ),
    Route(
        "export_asset",
        "GET",
        f"{V1}/assets/{{asset}}/export.zip",
        exports.export_asset,
        "An asset and everything made from it as a zip.",
        {200: ZIP},
        query=ArchiveQuery,
        problems=PROBLEMS,
        scope=Scope.READ,
    ),
    Route(
        "get_sampler_kit",
        "GET",
        f"{V1}/assets/{{asset}}/kit.zip",
        exports.get_sampler_kit,
        "The one-shots that were cut from an asset as a sampler kit: SFZ, on the keys of General MIDI drums.",
        {200: ZIP},
        problems=(errors.Conflict, *PROBLEMS),
        scope=Scope.READ,
    ),
    Route(
        "get_multitrack",
        "GET",
        f"{V1}/assets/{{asset}}/multitrack.mid",
        exports.get_multitrack,
        "The notes of an asset and of all its stems as one MIDI file, on one tempo map.",
        {200: Answer("The file.", None, exports.MIDI, ("Content-Disposition",))},
        problems=(errors.Conflict, errors.InputUnsupported, *PROBLEMS),
        scope=Scope.READ,
    ),
    Route(
        "create_export",
        "POST",
        f"{V1}/exports",
        exports.create_export,
        "Order an archive of a library, or of chosen assets; it is made when it is fetched, for a week.",
        {201: json_of(Export, "Ordered.", "Location")},
        body=NewExport,
        problems=(errors.NotFound,),
        scope=Scope.READ,
    ),
    Route(
        "get_export",
        "GET",
        f"{V1}/exports/{{export}}",
        exports.get_export,
        "One order.",
        {200: json_of(Export)},
        scope=Scope.READ,
    ),
    Route(
        "get_export_content",
        "GET",
        f"{V1}/exports/{{export}}/content",
        exports.get_export_content,
        "The archive that was ordered, of what is there now.",
        {200: ZIP},
        problems=(errors.Gone, *PROBLEMS),
        scope=Scope.READ,
    ),
    Route(
        "import_archive",
        "POST",
        f"{V1}/libraries/{{library}}/imports",
        imports.import_archive,
        "Restore an archive that was exported with its manifest: the tree, the names, the lineage.",
        {
            201: json_of(ImportResult, "Restored."),
            200: json_of(ImportResult, "All of it was there already, or had been left out."),
        },
        form=ImportForm,
        skim=uploads.skim,
        media_types=(FORM,),
        problems=(
            errors.MalformedMultipart,
            errors.EmptyUpload,
            errors.ValidationFailed,
            errors.InvalidArchive,
            errors.StorageUnavailable,
            errors.QuotaExceeded,
        ),
        scope=Scope.WRITE,
    ),
)
