"""Uploads in parts, in a bucket: S3's own multipart uploads, whose parts clients may also PUT by presigned URLs."""

import io
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from .blocks import gathered
from .parts import Part
from .store import OCTETS, check_key

LARGEST = 5 << 30
"""Bytes of a part, by S3's rules."""

Ask = Callable[..., Awaitable[dict[str, Any]]]
Sign = Callable[[str, int, dict[str, Any]], Awaitable[str | None]]


class S3Parts:
    """A PartStore in the bucket that `call` and `send` ask. `body` is what they upload."""

    def __init__(self, call: Ask, send: Ask, sign: Sign, body: type[io.BytesIO]) -> None:
        self._call = call
        self._send = send
        self._sign = sign
        self._body = body

    async def begin(self, key: str) -> str:
        """See `PartStore.begin`."""
        reply = await self._call("create_multipart_upload", Key=check_key(key), ContentType=OCTETS)
        handle: str = reply["UploadId"]
        return handle

    async def put(self, key: str, handle: str, number: int, chunks: AsyncIterable[bytes]) -> int:
        """See `PartStore.put`. It is held in memory on its way."""
        async with aclosing(gathered(chunks, LARGEST, self._body)) as bodies:
            body = await anext(bodies, self._body())
        size = body.getbuffer().nbytes
        await self._send("upload_part", body, Key=check_key(key), UploadId=handle, PartNumber=number)
        return size

    async def list(self, key: str, handle: str) -> Sequence[Part]:
        """See `PartStore.list`."""
        return [Part(each["PartNumber"], each["Size"]) for each in await self._list(key, handle)]

    async def join(self, key: str, handle: str) -> None:
        """See `PartStore.join`."""
        parts = [
            {"PartNumber": each["PartNumber"], "ETag": each["ETag"]} for each in await self._list(key, handle)
        ]
        await self._call(
            "complete_multipart_upload", Key=key, UploadId=handle, MultipartUpload={"Parts": parts}
        )

    async def abort(self, key: str, handle: str) -> None:
        """See `PartStore.abort`."""
        await self._call("abort_multipart_upload", Key=check_key(key), UploadId=handle)

    async def link(self, key: str, handle: str, part: Part, ttl_s: int) -> str | None:
        """See `PartStore.link`. The length is signed: the store takes no other."""
        params = {
            "Key": check_key(key),
            "UploadId": handle,
            "PartNumber": part.number,
            "ContentLength": part.bytes,
        }
        return await self._sign("upload_part", ttl_s, params)

    async def _list(self, key: str, handle: str) -> Sequence[dict[str, Any]]:
        """Of a number that came more than once the last one counts: SeaweedFS lists them all."""
        last: dict[int, dict[str, Any]] = {}
        for each in await self._all(key, handle):
            before = last.get(each["PartNumber"])
            if before is None or before["LastModified"] <= each["LastModified"]:
                last[each["PartNumber"]] = each
        return [last[number] for number in sorted(last)]

    async def _all(self, key: str, handle: str) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        more: dict[str, Any] = {}
        while True:
            reply = await self._call("list_parts", Key=check_key(key), UploadId=handle, **more)
            found += reply.get("Parts", ())
            if not reply.get("IsTruncated"):
                return found
            more = {"PartNumberMarker": reply["NextPartNumberMarker"]}
