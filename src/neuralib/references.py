"""What params leave to the library: regions that they name by id become spans in seconds, before a job is accepted."""

from collections.abc import Mapping
from typing import Any

from .db import Connection
from .db import regions as region_rows
from .entities import Asset, Region
from .errors import FieldError, NotFound, ValidationFailed
from .executors import Executor, Params, registry


async def fill_in(tx: Connection, asset: Asset, executor: type[Executor[Any]], params: Params) -> Params:
    """The params with all that `missing` names, where the library knows it. Raises NotFound, ValidationFailed."""
    found: dict[str, Any] = {}
    if "regions" in params.missing():
        found = await _regions(tx, asset, params.model_dump())
    return registry.validate(executor, {**params.model_dump(), **found}) if found else params


async def _regions(tx: Connection, asset: Asset, params: Mapping[str, Any]) -> dict[str, Any]:
    there = {region.id: region for region in await region_rows.of_asset(tx, asset.owner_id, asset.id)}
    wanted = [_named(there.get(id_), id_, i) for i, id_ in enumerate(params["region_ids"])]
    if not wanted:
        wanted = [region for region in there.values() if region.kind.is_span]
    spans = [{"start_s": each.start, "end_s": each.end, "name": each.name} for each in wanted]
    return {"regions": [*params["regions"], *spans], "region_ids": []}


def _named(region: Region | None, id_: object, place: int) -> Region:
    if region is None:
        raise NotFound(f"there is no region {id_}")
    if not region.kind.is_span:
        message = f"a {region.kind.value} has no end"
        raise ValidationFailed(message, fields=[FieldError(f"/params/region_ids/{place}", "kind", message)])
    return region
