"""Real servers that tests start themselves: on loopback, on free ports, gone when the tests are, however those end."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from neuralib.db import open_database
from neuralib.db.migrate import migrate
from neuralib.embedded import Stores, run_stores

READY_WITHIN_S = 60.0
T = TypeVar("T")

GUARD = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; it outlives the exec below
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the tests are gone already")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the server, after asking the kernel to kill it when the tests die, even by SIGKILL."""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server with one account, which may do everything."""

    endpoint: str
    access_key: str = "neuralib-tests"
    secret_key: str = "a secret of the tests"
    region: str = "us-east-1"

    def client(self):
        """A plain blocking botocore client, to look at the server past our own code."""
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                connect_timeout=2,
                read_timeout=10,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS with its data in `folder`, once it takes objects. About 4 s."""
    ports = s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = free_ports(8)
    server = S3Server(f"http://127.0.0.1:{s3}")
    one_volume = "[master.volume_growth]\ncopy_1 = 1\n"  # seven at the first byte take five seconds
    (folder / "master.toml").write_text(one_volume)
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    command = [
        str(weed), "-logtostderr", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
        f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.telemetry=false",
        "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=128", "-volume.max=20",
        f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.preStopSeconds=0",
        f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}", f"-filer.localSocket={folder}/filer.sock",
        f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.localSocket={folder}/s3.sock",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    try:
        with running(command, folder, {"HOME": str(folder), "GOMAXPROCS": "2", **keys}) as log:
            wait_until_it_stores(server, log)
            yield server
    finally:
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


@contextmanager
def embedded_stores() -> Iterator[Stores]:
    """PostgreSQL and Valkey, migrated."""
    folder = Path(tempfile.mkdtemp(prefix="nl-"))
    folder.chmod(0o711)  # as root the servers run as another account

    @asynccontextmanager
    async def migrated() -> AsyncIterator[Stores]:
        async with run_stores(folder / "data") as stores:
            async with open_database(stores.database_url, size=1) as db:
                await migrate(db)
            yield stores

    try:
        with kept_open(migrated()) as stores:
            yield stores
    finally:
        shutil.rmtree(folder)


@contextmanager
def kept_open(opening: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What `opening` gives, kept by a thread with a loop of its own: each test has another loop, or none."""
    began: Future[tuple[T, Callable[[], object]]] = Future()

    async def keep() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with opening as opened:
            began.set_result((opened, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(keep())
        except BaseException as error:
            if began.done():
                raise
            began.set_exception(error)  # the tests' own thread raises it

    thread = threading.Thread(target=run, name="kept-open")
    thread.start()
    opened, stop = began.result(READY_WITHIN_S)
    try:
        yield opened
    finally:
        stop()
        thread.join(READY_WITHIN_S)


def wait_until_it_stores(server: S3Server, log: Path) -> None:
    """Returns when an object can be written: SeaweedFS listens long before that."""
    client = server.client()
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"only bytes make it allot a volume")
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"no S3 server after {READY_WITHIN_S:g} s:\n{log.read_text()[-4000:]}"
                ) from error
            time.sleep(0.1)
        else:
            client.close()
            return


@contextmanager
def running(command: Sequence[str], folder: Path, env: dict[str, str]) -> Iterator[Path]:
    """A child process, and the file that takes what it prints. Killed at the end, and by the kernel when we are."""
    log = folder / "server.log"
    guard = [sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid()), *command]
    with log.open("wb") as output, subprocess.Popen(
        guard, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=env
    ) as child:  # fmt: skip
        try:
            yield log
        finally:
            child.kill()


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """A URL whose server takes every connection and every byte and never says a word."""

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass

    async with tcp_server(listen) as url:
        yield url


@asynccontextmanager
async def canned_server(*replies: bytes) -> AsyncIterator[str]:
    """A URL whose server answers each connection's first request with the next reply, the last one for ever, and hangs up."""
    left = list(replies)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    async with tcp_server(answer) as url:
        yield url


@asynccontextmanager
async def slow_proxy(server: S3Server, bytes_per_s: float) -> AsyncIterator[str]:
    """A URL that leads to the server over a line which takes uploads no faster than this."""
    host, port = server.endpoint.removeprefix("http://").split(":")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, far_writer, bytes_per_s))
                group.create_task(_pour(far_reader, writer, 1e9))
        finally:
            far_writer.close()

    async with tcp_server(relay, receive_buffer=1 << 16) as url:
        yield url


class RedisLine:
    """A TCP line to a Redis, which can be cut and mended."""

    def __init__(self, redis_url: str) -> None:
        self._far = urlsplit(redis_url)
        self._port = free_ports(1)[0]
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://:{self._far.password}@127.0.0.1:{self._port}/0"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """Close every connection and take no new one."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        self._talks.add(talk)
        try:
            if self._far.scheme == "unix":
                far_reader, far_writer = await asyncio.open_unix_connection(self._far.path)
            else:
                far_reader, far_writer = await asyncio.open_connection(self._far.hostname, self._far.port)
            pours = [
                asyncio.create_task(_pour(reader, far_writer, 1e12)),
                asyncio.create_task(_pour(far_reader, writer, 1e12)),
            ]
            try:
                await asyncio.wait(pours, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pour in pours:
                    pour.cancel()
                await asyncio.gather(*pours, return_exceptions=True)
                far_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._talks.discard(talk)


@asynccontextmanager
async def redis_line(redis_url: str) -> AsyncIterator[RedisLine]:
    line = RedisLine(redis_url)
    await line.mend()
    try:
        yield line
    finally:
        await line.cut()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_per_s: float) -> None:
    while block := await reader.read(1 << 16):
        writer.write(block)
        await writer.drain()
        await asyncio.sleep(len(block) / bytes_per_s)
    writer.close()


@asynccontextmanager
async def tcp_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], *, receive_buffer: int = 0
) -> AsyncIterator[str]:
    """An HTTP URL on loopback whose connections `talk` holds. All are cut at the end."""
    talks: set[asyncio.Task[None]] = set()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        talks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()
            talks.discard(task)

    listener = socket.create_server(("127.0.0.1", 0))
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    server = await asyncio.start_server(hold, sock=listener)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
