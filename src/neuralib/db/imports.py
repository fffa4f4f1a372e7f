"""What an import looks for, and the jobs that it brings."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from neuralib.archives.manifest import DerivationPart

from . import Connection


async def known(
    tx: Connection, owner: UUID, library: UUID, ids: Sequence[UUID]
) -> list[tuple[UUID, UUID, str]]:
    """(one of `ids`, an asset of the library, its SHA-256): what was exported from here, or imported before. The newest
    come last.
    """
    rows = await tx.all("known_imports", owner, library, ids, [str(id_) for id_ in ids])
    return [(UUID(row["old_id"]), row["id"], row["sha256"]) for row in rows]


async def insert_job(
    tx: Connection,
    owner: UUID,
    job: UUID,
    part: DerivationPart,
    library: UUID,
    result: Mapping[str, Any],
) -> None:
    """A job that has succeeded, elsewhere. `link_job` says what it read, once that is there."""
    await tx.run(
        "insert_imported_job",
        job,
        owner,
        part.operation,
        part.model,
        part.checkpoint,
        part.params,
        part.output,
        library,
        result,
        part.metadata,
        part.created_at,
        part.started_at,
        part.finished_at or part.created_at,
    )


async def link_job(
    tx: Connection, owner: UUID, job: UUID, inputs: Sequence[tuple[UUID | None, str | None]]
) -> None:
    """(asset, name) of each input, in order."""
    await tx.run("link_imported_job", job, inputs[0][0] if inputs else None)
    ids, names = [a for a, _ in inputs], [n for _, n in inputs]
    await tx.run("insert_job_inputs", job, owner, ids, names, [None] * len(inputs))
