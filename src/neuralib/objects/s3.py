"""Objects in a bucket of any S3 endpoint. The only file that knows aiobotocore.

What this client would not do by itself: a silent server is given up after `timeout_s` (botocore waits for ever for the
`100 Continue` before an upload), while an upload that moves, however slowly, is left alone; an upload that fails or is
cancelled is aborted on the server; errors come out as ours, without endpoint, bucket or key id in their text.
"""

import asyncio
import io
import socket
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from pydantic import SecretStr

from neuralib.errors import (
    ConfigurationError,
    NeuralibError,
    NotFound,
    PayloadTooLarge,
    StorageFull,
    StorageUnavailable,
)

from .blocks import gathered
from .s3_parts import S3Parts
from .store import ABANDONED_AFTER, OCTETS, ObjectStat, check_key, check_prefix, check_range

log = structlog.get_logger(__name__)

PART = 8 << 20
"""Bytes of one part of a multipart upload; also the largest object that is sent in one piece."""
PARTS_AT_ONCE = 3
"""Parts in memory: those on their way and the one being gathered."""
_PARTS_LIMIT = 10_000
_ABORT_S = 2.0
_READ = 1 << 18
_UNSENT = 1 << 18

_Send = Callable[..., Awaitable[dict[str, Any]]]


class _Body(io.BytesIO):
    """What one call uploads. Tells, from whichever thread, each time that the server has taken what was read before."""

    moved: Callable[[], None] | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.moved is not None:
            self.moved()
        return super().read(size)

    def size(self) -> int:
        """Bytes in all."""
        with self.getbuffer() as content:
            return content.nbytes


class S3Objects:
    """An ObjectStore in one bucket, which is taken to be ours alone. Made by `open_s3`."""

    def __init__(self, client: Any, bucket: str, timeout_s: float, signer: Any = None) -> None:
        self._client = client
        self._bucket = bucket
        self._timeout_s = timeout_s
        self._signer = signer
        self.parts = S3Parts(self._call, self._send, self._sign, _Body)

    async def put(self, key: str, chunks: AsyncIterable[bytes], *, content_type: str = OCTETS) -> int:
        """See `ObjectStore.put`. Objects of 8 MiB and more go up in parts.

        Raises:
            PayloadTooLarge: more than S3's 10,000 parts, 78 GiB.
        """
        check_key(key)
        async with aclosing(gathered(chunks, PART, _Body)) as blocks:
            first = await anext(blocks, _Body())
            size = first.size()
            if size == PART:
                return await self._put_parts(key, first, blocks, content_type)
            await self._send("put_object", first, Key=key, ContentType=content_type)
            return size

    async def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """See `ObjectStore.read`."""
        check_range(start, stop)
        if stop is not None and stop <= start:
            await self._call("head_object", Key=check_key(key))
            return
        ranged = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop else {}
        try:
            reply = await self._call("get_object", Key=check_key(key), **ranged)
        except _BeyondEndError:
            return
        body = reply["Body"]
        try:
            while chunk := await self._next(body):
                yield chunk
        finally:
            body.close()  # at once and without waiting: an unfinished reply gives its connection up

    async def link(self, key: str, ttl_s: int, *, content_type: str, disposition: str) -> str | None:
        """See `ObjectStore.link`."""
        params = {
            "Key": check_key(key),
            "ResponseContentType": content_type,
            "ResponseContentDisposition": disposition,
        }
        return await self._sign("get_object", ttl_s, params)

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with suppress(NotFound):
            await self._call("delete_object", Key=check_key(key))

    async def list(self, prefix: str) -> AsyncIterator[ObjectStat]:
        """See `ObjectStore.list`."""
        page: dict[str, Any] = {"Prefix": check_prefix(prefix)}
        while True:
            reply = await self._call("list_objects_v2", **page)
            for item in reply.get("Contents", ()):
                yield ObjectStat(item["Key"], item["Size"], item["LastModified"])
            if not reply.get("IsTruncated"):
                return
            page["ContinuationToken"] = reply["NextContinuationToken"]

    async def check(self) -> None:
        """See `ObjectStore.check`: asks for the bucket, which needs our credentials."""
        try:
            await self._call("head_bucket")
        except NotFound as error:
            raise StorageUnavailable("The bucket does not exist.") from error

    async def sweep(self, older_than: timedelta = ABANDONED_AFTER) -> int:
        """Abort multipart uploads that began so long ago; returns how many. Looks at the first 1000."""
        before = datetime.now(UTC) - older_than
        reply = await self._call("list_multipart_uploads", MaxUploads=1000)
        abandoned = [upload for upload in reply.get("Uploads", ()) if upload["Initiated"] <= before]
        for upload in abandoned:
            with suppress(NotFound):
                await self._call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
        return len(abandoned)

    async def make_bucket(self, region: str) -> None:
        """Make the bucket unless it is there and ours."""
        try:
            await self._call("head_bucket")
        except NotFound:
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
            with suppress(_BucketThereError):  # another process of ours was quicker
                await self._call("create_bucket", **({} if region == "us-east-1" else where))
            await self.check()

    async def _put_parts(self, key: str, first: _Body, rest: AsyncIterable[_Body], content_type: str) -> int:
        reply = await self._call("create_multipart_upload", Key=key, ContentType=content_type)
        upload = _Upload(self._send, key, reply["UploadId"])
        try:
            await upload.add(first, rest)
            await self._call(
                "complete_multipart_upload",
                Key=key,
                UploadId=upload.id,
                MultipartUpload={"Parts": upload.parts()},
            )
        except BaseException:
            await asyncio.shield(asyncio.create_task(self._abort(key, upload.id)))
            raise
        return upload.size

    async def _abort(self, key: str, upload_id: str) -> None:
        """Short, for somebody waits for the error that led here. What it cannot abort, `sweep` will."""
        try:
            async with asyncio.timeout(_ABORT_S):
                await self._call("abort_multipart_upload", Key=key, UploadId=upload_id)
        except (NeuralibError, TimeoutError) as error:
            log.warning("upload not aborted", key=key, reason=str(error) or type(error).__name__)

    async def _send(self, operation: str, body: _Body, **params: Any) -> dict[str, Any]:
        """One call that uploads, and closes, a body. Its deadline moves with every block that the server takes."""
        # Closed, not just let go: botocore's request objects hold each other until the next garbage collection.
        with body:
            async with self._answering() as deadline:
                body.moved = _extending(deadline, self._timeout_s)
                return await self._request(operation, Body=body, ContentLength=body.size(), **params)

    async def _call(self, operation: str, **params: Any) -> dict[str, Any]:
        async with self._answering():
            return await self._request(operation, **params)

    async def _sign(self, operation: str, ttl_s: int, params: dict[str, Any]) -> str | None:
        """A URL for this one request; None without an endpoint that clients reach. Asks nobody."""
        if self._signer is None:
            return None
        async with self._answering():
            url: str = await self._signer.generate_presigned_url(
                operation, Params={"Bucket": self._bucket, **params}, ExpiresIn=ttl_s
            )
            return url

    async def _request(self, operation: str, **params: Any) -> dict[str, Any]:
        reply: dict[str, Any] = await getattr(self._client, operation)(Bucket=self._bucket, **params)
        return reply

    async def _next(self, body: Any) -> bytes:
        async with self._answering():
            chunk: bytes = await body.read(_READ)
            return chunk

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[asyncio.Timeout]:
        """One question to the server: gives up after `timeout_s` and speaks our errors."""
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                yield deadline
        except (TimeoutError, ConnectTimeoutError, ReadTimeoutError) as error:
            raise StorageUnavailable(
                f"The object store did not answer within {self._timeout_s:g} s."
            ) from error
        except ClientError as error:
            raise _ours(error) from error
        except NoCredentialsError as error:
            raise StorageUnavailable("There are no credentials for the object store.") from error
        except (
            BotoConnectionError,
            HTTPClientError,
            ResponseStreamingError,
            aiohttp.ClientError,
            OSError,
        ) as error:
            raise StorageUnavailable("The connection to the object store failed.") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"The object store cannot be used ({type(error).__name__}).") from error


class _BeyondEndError(Exception):
    """The object is there, and the range starts at or past its end."""


class _BucketThereError(Exception):
    """Somebody made the bucket between our two questions."""


def _missing() -> NotFound:
    return NotFound("Nothing is stored under this key.")


def _full() -> StorageFull:
    return StorageFull("The object store has no room left.")


_REFUSALS: dict[str, Callable[[], Exception]] = {
    **dict.fromkeys(("NoSuchKey", "NoSuchUpload", "404", "NotFound"), _missing),
    **dict.fromkeys(("507", "InsufficientStorage", "XMinioStorageFull", "QuotaExceeded"), _full),
    **dict.fromkeys(("InvalidRange", "416"), _BeyondEndError),
    **dict.fromkeys(("BucketAlreadyOwnedByYou", "BucketAlreadyExists"), _BucketThereError),
    "NoSuchBucket": lambda: StorageUnavailable("The bucket does not exist."),
}
"""By S3's error code; for replies without a body the status stands in."""


class _Upload:
    """The parts of one multipart upload: a few on their way at once, done in any order."""

    def __init__(self, send: _Send, key: str, upload_id: str) -> None:
        self.id = upload_id
        self.size = 0
        self._send = send
        self._key = key
        self._etags: list[str | None] = []
        self._slots = asyncio.Semaphore(PARTS_AT_ONCE - 1)

    async def add(self, first: _Body, rest: AsyncIterable[_Body]) -> None:
        """Upload the parts. The first failure, of a part or of their source, stops the others."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._start(group, first)
                async for body in rest:
                    await self._start(group, body)
        except BaseExceptionGroup as failures:
            failure = failures.exceptions[0]
            raise failure from failure.__cause__

    def parts(self) -> list[dict[str, Any]]:
        """What completes the upload: part numbers and ETags, in order."""
        return [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._etags, 1)]

    async def _start(self, group: asyncio.TaskGroup, body: _Body) -> None:
        """Set one part on its way, then wait until there is room to gather the next."""
        if len(self._etags) == _PARTS_LIMIT:
            raise PayloadTooLarge(f"The object is larger than {_PARTS_LIMIT} parts of {PART} bytes.")
        self._etags.append(None)
        self.size += body.size()
        group.create_task(self._part(len(self._etags), body))
        await self._slots.acquire()

    async def _part(self, number: int, body: _Body) -> None:
        reply = await self._send("upload_part", body, Key=self._key, UploadId=self.id, PartNumber=number)
        self._etags[number - 1] = reply["ETag"]
        self._slots.release()


def _extending(deadline: asyncio.Timeout, seconds: float) -> Callable[[], None]:
    """A callback for any thread that gives the deadline `seconds` from now."""
    loop = asyncio.get_running_loop()

    def extend() -> None:
        with suppress(RuntimeError):  # the call is over
            deadline.reschedule(loop.time() + seconds)

    def moved() -> None:
        loop.call_soon_threadsafe(extend)

    return moved


def _ours(error: ClientError) -> Exception:
    """What the server's refusal means to us."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    known = _REFUSALS.get(code)
    if known is not None:
        return known()
    if status in (401, 403):
        return StorageUnavailable(f"The object store refuses our credentials ({code}).")
    return StorageUnavailable(f"The object store answers {status} ({code}).")


@asynccontextmanager
async def open_s3(
    *,
    bucket: str,
    endpoint: str | None = None,
    region: str = "us-east-1",
    access_key: SecretStr | None = None,
    secret_key: SecretStr | None = None,
    create_bucket: bool = False,
    timeout_s: float = 10.0,
    connections: int = 100,
    public_url: str | None = None,
    abandoned_after: timedelta = ABANDONED_AFTER,
) -> AsyncIterator[S3Objects]:
    """The store in a bucket. Without `endpoint` it is AWS; without keys, botocore's chain finds them (environment,
    shared files, instance role).

    `timeout_s` is how long the server may be silent. Each open read holds one of the `connections`. `public_url` is the
    endpoint as clients reach it, for URLs that are signed for them. Uploads begun `abandoned_after` ago are aborted.

    Raises:
        ConfigurationError: half a key pair, or an endpoint that is no URL.
        StorageUnavailable: `create_bucket` is asked for and fails.
    """
    if (access_key is None) != (secret_key is None):
        raise ConfigurationError("Set both storage.access_key and storage.secret_key, or neither.")
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(timeout_s):  # the chain may ask a metadata service
                made = [
                    await stack.enter_async_context(
                        get_session().create_client(
                            "s3",
                            endpoint_url=url,
                            region_name=region,
                            aws_access_key_id=access_key and access_key.get_secret_value(),
                            aws_secret_access_key=secret_key and secret_key.get_secret_value(),
                            config=_client_config(url, timeout_s, connections),
                        )
                    )
                    for url in (endpoint, *((public_url,) if public_url else ()))
                ]
        except TimeoutError as error:
            raise StorageUnavailable("The search for credentials took too long.") from error
        except ValueError as error:
            raise ConfigurationError("storage.endpoint or storage.public_url is not a URL.") from error
        store = S3Objects(made[0], bucket, timeout_s, made[1] if public_url else None)
        if create_bucket:
            await store.make_bucket(region)
        sweeping = asyncio.create_task(_sweep(store, abandoned_after))
        try:
            yield store
        finally:
            sweeping.cancel()
            await asyncio.wait([sweeping])


async def _sweep(store: S3Objects, abandoned_after: timedelta) -> None:
    """In the background: a store that is down, or that forbids the listing, must not keep us from starting."""
    try:
        if swept := await store.sweep(abandoned_after):
            log.info("abandoned uploads removed", count=swept)
    except NeuralibError as error:
        log.warning("abandoned uploads not removed", reason=error.detail)


def _socket(address: Sequence[Any]) -> socket.socket:
    """A socket whose kernel buffer holds little that is not yet on the line: what the client has written is then what
    the server has nearly taken, and the deadline of an upload sees it move. In-flight data, so speed, is not bounded.
    """
    made = socket.socket(*address[:3])
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    return made


def _client_config(endpoint: str | None, timeout_s: float, connections: int) -> AioConfig:
    return AioConfig(
        connect_timeout=timeout_s,
        read_timeout=timeout_s,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=connections,
        connector_args={"keepalive_timeout": 12, "socket_factory": _socket},
        signature_version="s3v4",  # presigned URLs else come in the older kind, which signs fewer headers
        s3={"addressing_style": "path" if endpoint else "auto"},
        # The newer default adds CRC32 trailers, which several S3 clones reject.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
