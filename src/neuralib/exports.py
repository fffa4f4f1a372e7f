"""Use cases of exports: archives of libraries and assets, at once or by an order that can be fetched for a week."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from .archives import manifest
from .archives.manifest import DerivationPart, InputPart
from .db import Connection
from .db import assets as rows
from .db import exports as export_rows
from .db import job_inputs as input_rows
from .db import jobs as job_rows
from .db import libraries as library_rows
from .db import regions as region_rows
from .db import transcripts as transcript_rows
from .entities import Asset, Export, Library, new_id
from .errors import Gone, NotFound, ValidationFailed
from .packing import Archive, Part, Selection, Wanted, pack
from .services import Services

KEPT_FOR = timedelta(days=7)


async def of_library(services: Services, owner: UUID, library: UUID, wanted: Wanted) -> Archive:
    """Everything in a library. Raises NotFound, also when that is nothing; ValidationFailed when it is too much."""
    async with services.db.transaction() as tx:
        selection = await _select(tx, owner, library, [])
    return await pack(services, selection, wanted)


async def of_asset(services: Services, owner: UUID, asset: UUID, wanted: Wanted) -> Archive:
    """An asset and everything made from it. Raises NotFound, ValidationFailed."""
    async with services.db.transaction() as tx:
        selection = await _select(tx, owner, None, [asset])
    return await pack(services, selection, wanted)


async def create(
    services: Services,
    owner: UUID,
    wanted: Wanted,
    *,
    library: UUID | None,
    assets: Sequence[UUID],
    tree: bool,
    id: UUID | None = None,  # noqa: A002 - a member's name
) -> Export:
    """An order for a library, or assets, or both. Raises NotFound when one of them is not there."""
    export = Export(
        id=id or new_id(),
        owner_id=owner,
        library_id=library,
        asset_ids=tuple(assets),
        tree=tree,
        include=tuple(sorted(wanted.include)),
        name_template=wanted.template,
    )
    async with services.db.transaction() as tx:
        if library is not None:
            await library_rows.get(tx, owner, library)
        await _require_all(tx, owner, assets)
        await export_rows.prune(tx, owner, KEPT_FOR)
        return await export_rows.insert(tx, export, KEPT_FOR)


async def get(services: Services, owner: UUID, export: UUID) -> Export:
    """Raises NotFound."""
    async with services.db.statements() as db:
        return await export_rows.get(db, owner, export)


async def archive(services: Services, owner: UUID, export: UUID) -> Archive:
    """What was ordered, as things are now. Raises Gone when the order has expired; NotFound when it, or one of the assets
    it names, is not there any more; ValidationFailed when it is too much.
    """
    async with services.db.transaction() as tx:
        order = await export_rows.get(tx, owner, export)
        if order.expired:
            raise Gone(f"export {export} was kept until {order.expires_at}")
        await _require_all(tx, owner, order.asset_ids)
        selection = await _select(tx, owner, order.library_id, order.asset_ids, tree=order.tree)
    wanted = Wanted(frozenset(Part(word) for word in order.include), order.name_template)
    return await pack(services, selection, wanted)


async def _require_all(tx: Connection, owner: UUID, ids: Sequence[UUID]) -> None:
    there = {asset.id for asset in await rows.of_ids(tx, owner, ids, tree=False, limit=len(ids))}
    for id_ in ids:
        if id_ not in there:
            raise NotFound(f"there is no asset {id_}")


async def _select(
    tx: Connection, owner: UUID, library: UUID | None, ids: Sequence[UUID], *, tree: bool = True
) -> Selection:
    """A library, assets, or both. Raises NotFound when there is nothing in it, ValidationFailed when there is too much."""
    most = manifest.MAX_ASSETS + 1
    whole: Library | None = None
    found: dict[UUID, Asset] = {}
    if library is not None:
        whole = await library_rows.get(tx, owner, library)
        found = {asset.id: asset for asset in await rows.of_library(tx, owner, library, most)}
    if ids:
        more = await rows.of_ids(tx, owner, ids, tree=tree, limit=most)
        found.update({asset.id: asset for asset in more})
    if not found:
        raise NotFound("there is nothing to export")
    if len(found) > manifest.MAX_ASSETS:
        raise ValidationFailed(f"an export may hold {manifest.MAX_ASSETS} assets; export it in parts")
    assets = [found[id_] for id_ in sorted(found)]
    named = whole.name if whole else found.get(ids[0], assets[0]).name
    regions = await region_rows.of_assets(tx, owner, list(found))
    edited = await transcript_rows.newest_of(tx, owner, list(found))
    return Selection(named, assets, await lineage(tx, owner, assets), regions, edited, whole)


async def lineage(tx: Connection, owner: UUID, found: Sequence[Asset]) -> list[DerivationPart]:
    """How they were made, by jobs that the manifest names."""
    jobs = list({asset.job_id for asset in found if asset.job_id})
    inputs = await input_rows.with_digests(tx, owner, jobs)
    return [
        DerivationPart(
            id=job.id,
            operation=job.operation,
            model=job.model,
            checkpoint=job.checkpoint,
            params=dict(job.params),
            output=dict(job.output),
            recipe=recipe or job.result.get("imported_from", {}).get("recipe"),
            inputs=[InputPart(name=n, asset_id=a, sha256=s) for n, a, s in inputs[job.id]],
            result=dict(job.result),
            metadata=dict(job.metadata),
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )
        for job, recipe in await job_rows.with_recipes(tx, owner, jobs)
    ]
