"""Where files lie in an archive: names that every system can unpack, each given once.

Names are NFC, at most 200 bytes of UTF-8 in all, unique also where case does not count, without anything that Windows,
macOS or Linux refuses, and no path ever leads out of its folder.
"""

import re
from collections.abc import Mapping
from unicodedata import category, normalize

PATH_BYTES = 200
FOLDERS_BYTES = 80
"""What the folders of a path may take of it together."""
COUNTER_BYTES = 10
"""Kept for ` (12345)`, which tells equal names apart."""
DEPTH = 4
FIELDS = frozenset({"track", "name", "stem", "role", "kind"})
TEMPLATE = "{track}/{name}"

_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
_FIELD = re.compile(r"{([^{}]*)}")


def safe(name: str, limit: int, suffix: str = "") -> str:
    """One part of a path: `name` and `suffix`, which is kept, in at most `limit` bytes. Never empty, never `..`."""
    text = _FORBIDDEN.sub("_", normalize("NFC", name))
    text = " ".join("".join(c for c in text if category(c)[0] != "C").split()).strip(" .")
    text = _cut(text, limit - len(suffix.encode()) - 1).rstrip(" .") or "untitled"
    return f"_{text}{suffix}" if _RESERVED.fullmatch(text + suffix) else text + suffix


def check_template(template: str) -> str:
    """The template, when a name can be made from it. Raises ValueError in words for its author."""
    unknown = sorted(set(_FIELD.findall(template)) - FIELDS)
    if unknown or "{" in _FIELD.sub("", template) or "}" in _FIELD.sub("", template):
        known = ", ".join(f"{{{name}}}" for name in sorted(FIELDS))
        raise ValueError(f"may hold {known} in braces, and nothing else")
    if not 1 <= len(template.split("/")) <= DEPTH:
        raise ValueError(f"may name at most {DEPTH - 1} folders")
    if not _FIELD.search(template.rpartition("/")[2]):
        raise ValueError("must hold one of its fields in the name of the file")
    return template


class Names:
    """The names of one archive."""

    def __init__(self, *taken: str) -> None:
        self._files: set[str] = {_folded(name) for name in taken}
        self._folders: set[str] = set()
        self._counts: dict[str, int] = {}

    def folder(self, name: str) -> str:
        """A name for a folder at the top that no other has."""
        return self._unique(safe(name, FOLDERS_BYTES - COUNTER_BYTES), "", self._folders)

    def file(self, template: str, fields: Mapping[str, str], suffix: str = "") -> str:
        """The path that the template makes of `fields`; what they hold can add no folder."""
        *folders, name = (_filled(part, fields) for part in template.split("/"))
        share = FOLDERS_BYTES // max(1, len(folders)) - 1
        above = ""
        for folder in folders:
            above = self._no_file(above + safe(folder, share)) + "/"
        room = PATH_BYTES - COUNTER_BYTES - len(above.encode())
        path = self._unique(above + safe(name, room, suffix).removesuffix(suffix), suffix, self._files)
        self._folders.update(_folded(parent) for parent in _parents(path))
        return path

    def _no_file(self, folder: str) -> str:
        while _folded(folder) in self._files:
            folder += "_"
        return folder

    def _unique(self, name: str, suffix: str, among: set[str]) -> str:
        """The first of `name`, `name (2)`, `name (3)`… that nothing has."""
        key = _folded(name + suffix)
        while True:
            count = self._counts[key] = self._counts.get(key, 0) + 1
            found = f"{name}{suffix}" if count == 1 else f"{name} ({count}){suffix}"
            if _folded(found) not in self._files | self._folders:
                among.add(_folded(found))
                return found


def _filled(part: str, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: fields[found[1]], part)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _folded(name: str) -> str:
    """What is equal for file systems that see no case."""
    return normalize("NFC", normalize("NFC", name).casefold())


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes, whole characters."""
    return text.encode()[: max(0, limit)].decode(errors="ignore")
