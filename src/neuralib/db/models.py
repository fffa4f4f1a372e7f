"""What the jobs of models tell of them: weights on their way, and measured speeds."""

from collections.abc import Sequence
from uuid import UUID

from neuralib.entities import Job

from . import Connection, Row
from .jobs import one_of


async def find_pull(tx: Connection, owner: UUID, operation: str, model: str, checkpoint: str) -> Job | None:
    """The owner's job of this operation that fetches these weights, or is about to."""
    return one_of(await tx.one("find_pull", owner, operation, model, checkpoint))


async def measured_speeds(tx: Connection, models: Sequence[str], newest: int) -> Sequence[Row]:
    """model, checkpoint, device, precision; factor (seconds of audio in a second, the median) of so many `jobs`, which
    are among the `newest` of the model.
    """
    return await tx.all("measured_speeds", models, newest)
