"""Forward-only migrations: `sql/migrations/NNNN_what.sql`, applied once, in order; all that are missing
in one transaction.
"""

from importlib.resources import files

import asyncpg

from neuralib.errors import DatabaseTooNew, DatabaseTooOld

from . import Connection, Database

LOCK = 0x6E6C_6962  # "nlib": one migrating process at a time
LIMIT_S = 3600.0
"""How long one migration, or the wait for another process that migrates, may take."""


def migrations() -> list[tuple[int, str, str]]:
    """(version, name, statements), oldest first."""
    found = []
    for entry in (files(__package__) / "sql" / "migrations").iterdir():
        if entry.name.endswith(".sql"):
            version, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append((int(version), name, entry.read_text()))
    return sorted(found)


async def migrate(db: Database) -> list[str]:
    """Apply what is missing; the names of what was applied. Raises DatabaseTooNew."""
    async with db.transaction() as tx:
        # What serves requests gives up after seconds; rebuilding an index of a large table takes its time.
        await tx.script("set local lock_timeout = 0", timeout_s=LIMIT_S)
        await tx.script("select pg_advisory_xact_lock($1)", LOCK, timeout_s=LIMIT_S)
        await tx.script(
            "create table if not exists schema_migrations ("
            "version int primary key, name text not null, applied_at timestamptz not null default now())",
            timeout_s=LIMIT_S,
        )
        applied = []
        for version, name, statements in _newer_than(await _version(tx)):
            await tx.script(statements, timeout_s=LIMIT_S)
            await tx.run("insert_migration", version, name)
            applied.append(f"{version:04} {name}")
        return applied


async def require_current(db: Database) -> None:
    """Raises DatabaseTooOld or DatabaseTooNew unless the schema is the one this version knows."""
    async with db.transaction() as tx:
        try:
            current = await _version(tx)
        except asyncpg.UndefinedTableError as error:
            raise DatabaseTooOld("the database is empty") from error
    missing = _newer_than(current)
    if missing:
        raise DatabaseTooOld(f"the database is at version {current}, this NeuraLib needs {missing[-1][0]}")


def _newer_than(current: int) -> list[tuple[int, str, str]]:
    known = migrations()
    if current > known[-1][0]:
        raise DatabaseTooNew(f"the database is at version {current}, this NeuraLib knows {known[-1][0]}")
    return [m for m in known if m[0] > current]


async def _version(tx: Connection) -> int:
    value: int | None = await tx.value("schema_version")
    return value or 0
