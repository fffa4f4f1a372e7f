"""The last of a disk is not ours to fill: a database may lie on it, which needs room to go on."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from neuralib.errors import StorageFull

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Room:
    """What may be written on the disk that `folder` is on: all but the last `spare` bytes."""

    folder: Path
    spare: int = 0

    def require(self, size: int = 0) -> None:
        """Asks the file system, which takes microseconds. Raises StorageFull when `size` more bytes do not fit."""
        if not self.spare:
            return
        disk = os.statvfs(self.folder)
        if disk.f_bavail * disk.f_frsize - size < self.spare:
            raise StorageFull("The disk has no room left but what is kept free for the database.")


def is_full(error: BaseException) -> bool:
    """Whether this is how a full disk tells."""
    return isinstance(error, OSError) and error.errno in FULL
