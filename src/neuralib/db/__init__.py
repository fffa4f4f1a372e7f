"""PostgreSQL: the one truth. The only package that knows asyncpg.

A `Database` hands out a `Connection` per transaction; the functions of this package's modules take it first and are
named after the blocks of `sql/queries/*.sql`. Every statement has a timeout and every failure of the server becomes
DatabaseUnavailable here, once.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files
from typing import Any

import asyncpg

from neuralib.errors import ConfigurationError, DatabaseUnavailable, NeuralibError, StorageFull

Row = Any
"""An asyncpg.Record: indexed by column name."""


_PART = re.compile(r"(?<!{){(\w+)}(?!})")


def _load_queries() -> dict[str, str]:
    """By name. `{other}` in a block stands for the block of that name."""
    queries: dict[str, str] = {}
    for file in (files(__package__) / "sql" / "queries").iterdir():
        blocks = re.split(r"^-- name: (\w+)\n", file.read_text(), flags=re.MULTILINE)
        for name, block in zip(blocks[1::2], blocks[2::2], strict=True):
            assert name not in queries, f"two statements are called {name}"
            queries[name] = block.strip()
    return {name: _PART.sub(lambda part: queries[part[1]], text) for name, text in queries.items()}


QUERIES = _load_queries()


class Connection:
    """Runs named statements."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    async def all(self, name: str, *args: Any) -> Sequence[Row]:
        with _translated():
            rows: Sequence[Row] = await self.raw.fetch(QUERIES[name], *args)
            return rows

    async def one(self, name: str, *args: Any) -> Row | None:
        with _translated():
            return await self.raw.fetchrow(QUERIES[name], *args)

    async def value(self, name: str, *args: Any) -> Any:
        with _translated():
            return await self.raw.fetchval(QUERIES[name], *args)

    async def run(self, name: str, *args: Any) -> int:
        """Rows touched."""
        with _translated():
            status: str = await self.raw.execute(QUERIES[name], *args)
            return int(status.rsplit(" ", 1)[-1])

    async def composed(self, sql: str, *args: Any) -> Sequence[Row]:
        """Run what was put together from named blocks."""
        with _translated():
            rows: Sequence[Row] = await self.raw.fetch(sql, *args)
            return rows

    async def script(self, sql: str, *args: Any, timeout_s: float) -> None:
        """Run what is no named statement: migrations. Without `args` it may be many statements."""
        with _translated():
            await self.raw.execute(sql, *args, timeout=timeout_s)


class Database:
    """A pool of connections."""

    def __init__(self, pool: Any, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commits when the block ends well, rolls back when it raises."""
        with _translated():
            raw = await self._pool.acquire(timeout=self._timeout_s)
        try:
            transaction = raw.transaction()
            with _translated():
                await transaction.start()
            try:
                yield Connection(raw)
            except BaseException:
                # When this fails the server has rolled back, or does as soon as the connection is closed.
                with suppress(NeuralibError), _translated():
                    await transaction.rollback()
                raise
            with _translated():
                await transaction.commit()
        finally:
            with _translated():
                await self._pool.release(raw, timeout=self._timeout_s)

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Connection]:
        """Every statement commits by itself: for a single one, a third of a transaction's round trips."""
        with _translated():
            raw = await self._pool.acquire(timeout=self._timeout_s)
        try:
            yield Connection(raw)
        finally:
            with _translated():
                await self._pool.release(raw, timeout=self._timeout_s)

    async def check(self) -> None:
        """One round trip. Raises DatabaseUnavailable."""
        with _translated():
            await self._pool.fetchval("select 1", timeout=self._timeout_s)


@asynccontextmanager
async def open_database(url: str, *, size: int = 10, timeout_s: float = 10.0) -> AsyncIterator[Database]:
    """A pool on `url`. Raises DatabaseUnavailable when the server does not answer, ConfigurationError for a URL that
    cannot be read.
    """
    with _translated(), _readable():
        pool = await asyncpg.create_pool(
            url,
            min_size=min(2, size),
            max_size=size,
            timeout=timeout_s,
            command_timeout=timeout_s,
            init=_set_codecs,
            reset=_keep_session,
            server_settings={
                "application_name": "neuralib",
                # A frozen process in the middle of a transaction must not hold up its owner's other jobs for long.
                "idle_in_transaction_session_timeout": str(int(timeout_s * 500)),
                "lock_timeout": str(int(timeout_s * 1000)),
            },
        )
    try:
        yield Database(pool, timeout_s)
    finally:
        try:
            async with asyncio.timeout(timeout_s):
                await pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()


async def _set_codecs(connection: Any) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _keep_session(connection: Any) -> None:
    """We leave no session state behind, so a returned connection needs no round trip to forget it."""


_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection cut in the middle of an answer
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, restarting, time-outs
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # deadlocks
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)


@contextmanager
def _readable() -> Iterator[None]:
    """Around what reads the URL. What is wrong with it is not repeated: it may be a piece of the password."""
    try:
        yield
    except ValueError:
        raise ConfigurationError(
            "database.url: must be a URL such as postgresql://user:password@host:5432/name, with special "
            "characters as %XX"
        ) from None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.DiskFullError as error:
        raise StorageFull("PostgreSQL has no space left") from error
    except _AWAY as error:
        raise DatabaseUnavailable(f"PostgreSQL: {str(error) or type(error).__name__}") from error
