"""The schema: made once, by one process at a time, and never opened by a version that does not know it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

import servers
from neuralib.db import Database, open_database
from neuralib.db.migrate import migrate, migrations, require_current
from neuralib.embedded import Stores
from neuralib.errors import ConfigurationError, DatabaseTooNew, DatabaseTooOld, DatabaseUnavailable

ALL = [f"{version:04} {name}" for version, name, _ in migrations()]


@asynccontextmanager
async def empty_database(stores: Stores) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    async with open_database(stores.database_url, size=1) as db, db.statements() as tx:
        await tx.raw.execute(f"create database {name}")
    try:
        yield urlunsplit(urlsplit(stores.database_url)._replace(path=f"/{name}"))
    finally:
        async with open_database(stores.database_url, size=1) as db, db.statements() as tx:
            await tx.raw.execute(f"drop database {name} with (force)")


@pytest.fixture
async def url(stores: Stores) -> AsyncIterator[str]:
    async with empty_database(stores) as url:
        yield url


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    async with open_database(url, size=2) as db:
        yield db


def test_versions_are_counted_without_a_gap() -> None:
    assert [version for version, _, _ in migrations()] == list(range(1, len(ALL) + 1))


async def test_an_empty_database_gets_all_of_it_and_the_second_time_nothing(db: Database) -> None:
    with pytest.raises(DatabaseTooOld, match="empty"):
        await require_current(db)
    assert await migrate(db) == ALL
    await require_current(db)
    assert await migrate(db) == []


async def test_an_older_schema_is_refused_until_it_is_migrated(db: Database) -> None:
    await migrate(db)
    async with db.statements() as tx:
        await tx.raw.execute("delete from schema_migrations")
    with pytest.raises(DatabaseTooOld, match=f"version 0.*needs {len(ALL)}"):
        await require_current(db)


async def test_a_newer_schema_is_refused_and_left_alone(db: Database) -> None:
    await migrate(db)
    async with db.transaction() as tx:
        await tx.run("insert_migration", len(ALL) + 1, "of the future")
    with pytest.raises(DatabaseTooNew):
        await require_current(db)
    with pytest.raises(DatabaseTooNew):
        await migrate(db)


async def test_a_migration_that_breaks_leaves_nothing(db: Database) -> None:
    async with db.statements() as tx:
        await tx.raw.execute("create table workers (name text)")  # in its way
    with pytest.raises(Exception, match="workers"):
        await migrate(db)
    async with db.statements() as tx:
        tables = await tx.raw.fetch("select tablename from pg_tables where schemaname = 'public'")
    assert [row["tablename"] for row in tables] == ["workers"]


async def test_two_that_migrate_at_once_do_it_once(url: str) -> None:
    async with open_database(url, size=1) as one, open_database(url, size=1) as other:
        applied = await asyncio.gather(migrate(one), migrate(other))
        assert sorted(applied) == [[], ALL]
        await require_current(one)


async def test_waiting_for_another_that_migrates_takes_as_long_as_it_takes(url: str) -> None:
    """Not the seconds after which requests give up."""
    async with open_database(url, size=1) as one, open_database(url, size=1, timeout_s=1.0) as hasty:
        async with one.transaction() as tx:
            await tx.raw.execute("select pg_advisory_xact_lock($1)", 0x6E6C_6962)
            waiting = asyncio.create_task(migrate(hasty))
            done, _ = await asyncio.wait([waiting], timeout=1.5)
            assert not done
        assert await waiting == ALL


# ── servers that are away ─────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    (port,) = servers.free_ports(1)
    with pytest.raises(DatabaseUnavailable):
        async with open_database(f"postgresql://u:secret@127.0.0.1:{port}/d", timeout_s=2.0):
            pass


async def test_a_server_that_says_nothing_is_unavailable_in_time() -> None:
    async with servers.silent_server() as url:
        with pytest.raises(DatabaseUnavailable):
            async with open_database(url.replace("http://", "postgresql://u:secret@") + "/d", timeout_s=0.5):
                pass


async def test_a_database_or_password_that_is_wrong_says_so_without_telling_it(stores: Stores) -> None:
    parts = urlsplit(stores.database_url)
    for changed in (
        parts._replace(path="/nowhere"),
        parts._replace(netloc=f"{parts.username}:wrong@{parts.netloc.rpartition('@')[2]}"),
    ):
        with pytest.raises(DatabaseUnavailable) as caught:
            async with open_database(urlunsplit(changed), timeout_s=5.0):
                pass
        assert "wrong" not in caught.value.detail
        assert str(parts.password) not in caught.value.detail


async def test_a_connection_that_is_cut_is_unavailable_once_and_then_works_again(stores: Stores) -> None:
    url = stores.database_url
    async with open_database(url, size=1) as db, open_database(url, size=1) as admin:

        async def cut_in_the_middle() -> None:
            async with db.transaction() as tx:
                pid = await tx.raw.fetchval("select pg_backend_pid()")
                async with admin.statements() as other:
                    await other.raw.execute("select pg_terminate_backend($1)", pid)
                await tx.value("schema_version")

        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await cut_in_the_middle()
        await db.check()


@pytest.mark.parametrize(
    "url",
    ["mysql://u:{}@h/x", "postgresql://u:{}/@h/x", "postgresql://u:{}@[::1/x", "postgresql://u:{}@h:port/x"],
)
async def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"database\.url") as caught:
        async with open_database(url.format("planted-0009")):
            pass
    assert "planted-0009" not in caught.value.detail
