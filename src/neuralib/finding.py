"""Use cases of finding: pages of assets by what is asked, in the order that is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from .db import finding as rows
from .db import libraries as library_rows
from .db.finding import Key, Place, Question
from .entities import Asset
from .services import Services

NEWEST = (Key("created_at", descending=True),)
BEST = (Key("relevance", descending=True), *NEWEST)


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, by the names of `db.finding`; None matters as little as what is left out. `view` is one of
    "tree", "roots" and an asset whose children are meant.
    """

    words: str | None = None
    having: Mapping[str, Any] = field(default_factory=dict)
    library: UUID | None = None
    view: str | UUID = "tree"
    keys: Sequence[Key] = ()

    @property
    def order(self) -> Sequence[Key]:
        """As asked; else the best first where there are words, and the newest."""
        return self.keys or (BEST if self.words is not None else NEWEST)

    def question(self, owner: UUID) -> Question:
        """The conditions of which each is asked for."""
        having = {name: value for name, value in self.having.items() if value is not None}
        if self.library is not None:
            having["library"] = self.library
        if isinstance(self.view, UUID):
            having["parent"] = self.view
        return Question(owner, having, self.words, roots=self.view == "roots")


@dataclass(frozen=True, slots=True)
class Found:
    """A page, where the next one begins, and, where that was asked, how many there are in all and what was made of each."""

    assets: Sequence[Asset]
    following: Place | None
    total: int | None = None
    made: Mapping[UUID, Sequence[str]] | None = None


async def find(
    services: Services,
    owner: UUID,
    search: Search,
    *,
    after: Place | None,
    limit: int,
    count: bool = False,
    made: bool = False,
) -> Found:
    """Raises NotFound for a library that is not there."""
    question = search.question(owner)
    async with services.db.statements() as db:
        if search.library is not None:
            await library_rows.require(db, owner, search.library)
        found = await rows.page(db, question, search.order, after, limit + 1)
        total = await rows.count(db, question) if count else None
        shown = found[:limit]
        words = await rows.made(db, owner, [asset.id for asset, _ in shown]) if made else None
    return Found([asset for asset, _ in shown], shown[-1][1] if len(found) > limit else None, total, words)


async def tags(
    services: Services, owner: UUID, beginning: str = "", limit: int = 200
) -> list[tuple[str, int]]:
    """The tags with a word that begins so, and how many assets have each; the commonest first."""
    async with services.db.statements() as db:
        return await rows.tags(db, owner, " ".join(beginning.lower().split()), limit)
