"""Handlers of /libraries."""

from aiohttp import web

from neuralib import libraries, trash
from neuralib.libraries import LibraryChanges

from .calls import Call, decode_cursor
from .replies import page, versioned
from .schemas.base import PageQuery
from .schemas.libraries import Library, LibraryPatch, NewLibrary
from .schemas.trash import DeleteQuery


async def list_libraries(call: Call, query: PageQuery) -> web.Response:
    before = decode_cursor(query.cursor)
    found = await libraries.page(call.services, call.owner, before=before, limit=query.limit + 1)
    shown = found[: query.limit]
    return page(call, [Library.of(each) for each in shown], shown[-1].id if len(found) > len(shown) else None)


async def create_library(call: Call, body: NewLibrary) -> web.Response:
    library = await libraries.create(
        call.services,
        call.owner,
        name=body.name,
        description=body.description,
        color=body.color,
        id=call.new_id() if call.keyed else None,
    )
    location = {"Location": f"/api/v1/libraries/{library.id}"}
    return versioned(call, library.version, Library.of(library), 201, location)


async def get_library(call: Call) -> web.Response:
    library = await libraries.get(call.services, call.owner, call.id("library"))
    return versioned(call, library.version, Library.of(library))


async def update_library(call: Call, body: LibraryPatch) -> web.Response:
    library = await libraries.get(call.services, call.owner, call.id("library"))
    expected = call.expect(library.version)
    if changes := _changes(body):
        library = await libraries.update(
            call.services, call.owner, library.id, changes, expected_version=expected
        )
    return versioned(call, library.version, Library.of(library))


async def delete_library(call: Call, query: DeleteQuery) -> web.Response:
    get = libraries.get_any if query.purge else libraries.get
    library = await get(call.services, call.owner, call.id("library"))
    expected = call.expect(library.version)
    delete = libraries.delete if query.purge else trash.throw_library
    await delete(call.services, call.owner, library.id, expected_version=expected)
    return web.Response(status=204)


def _changes(patch: LibraryPatch) -> LibraryChanges:
    changes = LibraryChanges()
    if "name" in patch.model_fields_set:
        changes["name"] = patch.name
    if "description" in patch.model_fields_set:
        changes["description"] = patch.description or ""
    if "color" in patch.model_fields_set:
        changes["color"] = patch.color
    return changes
