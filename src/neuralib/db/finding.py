"""Questions to the assets of an owner: put together from the blocks of finding.sql, paged by key.

A page begins after the place where the one before ended: the sort keys of its last row and its id. So whatever is added,
changed or taken away meanwhile, a row that stays as it is comes once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from neuralib.entities import Asset

from . import QUERIES, Connection
from .assets import asset_of

Value = datetime | str | float | int | None
KEYS: Mapping[str, tuple[str, bool]] = {
    "created_at": ("timestamptz", False),
    "name": ("text", False),
    "duration": ("float8", True),
    "bpm": ("real", True),
    "rating": ("int", True),
    "relevance": ("real", False),
}
"""What assets are sorted by: its type, and whether a row may have none; those come last."""


@dataclass(frozen=True, slots=True)
class Key:
    """One thing to sort by."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ends: the sort keys of its last row, and its id."""

    values: tuple[Value, ...]
    id: UUID


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for. `having` holds what each find_ block is given, by its name."""

    owner: UUID
    having: Mapping[str, Any]
    words: str | None = None
    roots: bool = False


@dataclass(slots=True)
class _Statement:
    """The arguments of a statement as it grows."""

    args: list[Any] = field(default_factory=list)

    def block(self, name: str, *values: Any) -> str:
        """A block with its `$?` numbered; the last value stands for those that are missing."""
        given = list(values)
        return re.sub(
            r"\$\?", lambda _: self.given(given.pop(0) if len(given) > 1 else given[0]), QUERIES[name]
        )

    def given(self, value: Any) -> str:
        self.args.append(value)
        return f"${len(self.args)}"

    def source(self, question: Question) -> str:
        return (
            self.block("find_among_words", question.words)
            if question.words is not None
            else QUERIES["find_among"]
        )

    def where(self, question: Question) -> str:
        parts = [QUERIES["find_owned"]]
        parts += [self.block(f"find_{name}", value) for name, value in question.having.items()]
        parts += [QUERIES["find_roots"]] if question.roots else []
        return "\n  and ".join(parts)

    def after(self, keys: Sequence[Key], values: Sequence[Value], id_: UUID, *, descending: bool) -> str:
        """The rows behind a place: those with a later key, or with the same and what follows of it."""
        compare = "<" if descending else ">"
        if not keys:
            return f"a.id {compare} {self.given(id_)}::uuid"
        key, value = keys[0], values[0]
        column, (type_, nullable) = QUERIES[f"key_{key.name}"], KEYS[key.name]
        if len(keys) == 1 and not nullable and key.descending is descending:
            return f"({column}, a.id) {compare} ({self.given(value)}::{type_}, {self.given(id_)}::uuid)"
        rest = self.after(keys[1:], values[1:], id_, descending=descending)
        if value is None:
            return f"({column} is null and {rest})"
        there = f"{self.given(value)}::{type_}"
        none = f" or {column} is null" if nullable else ""
        return f"({column} {'<' if key.descending else '>'} {there} or ({column} = {there} and {rest}){none})"


async def page(
    tx: Connection, question: Question, keys: Sequence[Key], after: Place | None, limit: int
) -> list[tuple[Asset, Place]]:
    """The rows in the order of the keys, then of their ids, which follow the first key's direction."""
    statement = _Statement([question.owner])
    source, where = statement.source(question), statement.where(question)
    descending = keys[0].descending
    if after is not None:
        where += "\n  and " + statement.after(keys, after.values, after.id, descending=descending)
    columns = [QUERIES[f"key_{key.name}"] for key in keys]
    names = [f"k{n}" for n in range(len(keys))]
    sql = _filled(
        statement.block("find_page", limit),
        keys=", ".join(f"{column} as {name}" for column, name in zip(columns, names, strict=True)),
        source=source,
        where=where,
        order=_order(keys, columns, "a.id", descending=descending),
        names=", ".join(f"p.{name}" for name in names),
        order_page=_order(keys, [f"p.{name}" for name in names], "p.id", descending=descending),
    )
    rows = await tx.composed(sql, *statement.args)
    return [(asset_of(row), Place(tuple(row[name] for name in names), row["id"])) for row in rows]


async def count(tx: Connection, question: Question) -> int:
    statement = _Statement([question.owner])
    source, where = statement.source(question), statement.where(question)
    (row,) = await tx.composed(_filled(QUERIES["find_count"], source=source, where=where), *statement.args)
    total: int = row["count"]
    return total


async def made(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> dict[UUID, list[str]]:
    """The names of their stems, `lyrics` and `notes`, as far as there are any."""
    return {row["above"]: row["made"] for row in await tx.all("list_made", owner, assets)}


async def tags(tx: Connection, owner: UUID, beginning: str, limit: int) -> list[tuple[str, int]]:
    """The tags with a word that begins so, and how many assets have each; the commonest first."""
    return [(row["tag"], row["assets"]) for row in await tx.all("list_tags", owner, beginning, limit)]


def _order(keys: Sequence[Key], columns: Sequence[str], id_column: str, *, descending: bool) -> str:
    parts = []
    for key, column in zip(keys, columns, strict=True):
        last = " nulls last" if KEYS[key.name][1] else ""
        parts.append(f"{column} {'desc' if key.descending else 'asc'}{last}")
    return ", ".join([*parts, f"{id_column} {'desc' if descending else 'asc'}"])


def _filled(block: str, **parts: str) -> str:
    return re.sub(r"{{(\w+)}}", lambda name: parts[name[1]], block)
