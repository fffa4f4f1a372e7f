"""A TCP line to a server that can go down, or silent: it then takes every connection and every byte and says nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import servers


class Line:
    """From `url` to a server. It works until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._far = (host, port)
        self._port = servers.free_ports(1)[0]
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.silenced = 0
        """Connections that met silence."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def mend(self) -> None:
        """What was swallowed stays unanswered: connections from before are cut."""
        await self._cut()
        self._passing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._hold, "127.0.0.1", self._port)

    async def down(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def silent(self) -> None:
        self._passing.clear()

    async def _cut(self) -> None:
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._talks.discard(talk)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._far)
        pours = [
            asyncio.create_task(self._pour(reader, far_writer)),
            asyncio.create_task(self._pour(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pours, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pour in pours:
                pour.cancel()
            await asyncio.gather(*pours, return_exceptions=True)
            far_writer.transport.abort()

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = False
        while block := await reader.read(1 << 16):
            if self._passing.is_set():
                writer.write(block)
                await writer.drain()
            elif not heard:
                heard = True
                self.silenced += 1


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    """A working line to the server at this URL."""
    host, port = url.removeprefix("http://").split(":")
    line = Line(host, int(port))
    await line.mend()
    try:
        yield line
    finally:
        with suppress(OSError):
            await line.down()
