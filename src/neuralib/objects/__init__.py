"""Where bytes live: a local folder or any S3 endpoint, behind one narrow seam.

store.py    the seam, and the two helpers that everything above it uses
local.py    a folder: embedded mode
s3.py       the only file that knows aiobotocore
parts.py    objects that come in parts; local_parts.py and s3_parts.py
blocks.py   streams of bytes cut into blocks, files written whole or not at all
room.py     the part of a disk that is left free
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretStr

from neuralib.errors import ConfigurationError

from .local import LocalObjects, open_local
from .parts import Part, PartStore
from .room import Room, is_full
from .store import ABANDONED_AFTER, ObjectStat, ObjectStore, fetch_file, put_file

__all__ = [
    "LocalObjects",
    "ObjectStat",
    "ObjectStore",
    "Part",
    "PartStore",
    "Room",
    "fetch_file",
    "is_full",
    "open_local",
    "open_objects",
    "put_file",
]


class StorageSettings(Protocol):
    """The part of the configuration that says where bytes live."""

    @property
    def kind(self) -> Literal["local", "s3"]: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def endpoint(self) -> str | None: ...
    @property
    def bucket(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def access_key(self) -> SecretStr | None: ...
    @property
    def secret_key(self) -> SecretStr | None: ...
    @property
    def create_bucket(self) -> bool: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def spare_bytes(self) -> int: ...
    @property
    def public_url(self) -> str | None: ...
    @property
    def upload_expiry_s(self) -> float: ...


class HasStorage(Protocol):
    """Settings, as far as this package reads them."""

    @property
    def storage(self) -> StorageSettings: ...


@asynccontextmanager
async def open_objects(settings: HasStorage) -> AsyncIterator[ObjectStore]:
    """The store that `settings.storage` names, open for the length of the block.

    Raises:
        ConfigurationError: the settings cannot name a store.
        StorageUnavailable: the folder cannot be written, or the bucket that was asked for cannot be made.
    """
    storage = settings.storage
    abandoned_after = max(ABANDONED_AFTER, timedelta(seconds=storage.upload_expiry_s) + timedelta(hours=1))
    if storage.kind == "local":
        if storage.path is None:
            raise ConfigurationError("storage.kind is local, but storage.path is not set.")
        async with open_local(storage.path, storage.spare_bytes, abandoned_after) as local:
            yield local
        return
    from .s3 import open_s3  # its client takes longer to import than everything else here

    async with open_s3(
        bucket=storage.bucket,
        endpoint=storage.endpoint,
        region=storage.region,
        access_key=storage.access_key,
        secret_key=storage.secret_key,
        create_bucket=storage.create_bucket,
        timeout_s=storage.timeout_s,
        public_url=storage.public_url,
        abandoned_after=abandoned_after,
    ) as remote:
        yield remote
