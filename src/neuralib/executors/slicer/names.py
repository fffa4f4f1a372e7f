"""What slices are called: a template, and a number where two would have the same name."""

import re
from collections.abc import Iterable, Mapping

TITLE = "{title}"
"""Stays in a name: the name of the asset takes its place when the slice is stored."""
FIELDS = ("title", "name", "class", "group", "n", "start", "bpm")
LONGEST = 150
"""Characters of a name without its title."""

_FIELD = re.compile(r"\{(\w+)(?::0([1-9]))?\}")
_PADDED = {"n", "group"}


def check_template(template: str) -> str:
    """The template, if every field in it is known. Raises ValueError."""
    for found in _FIELD.finditer(template):
        if found[1] not in FIELDS or (found[2] and found[1] not in _PADDED):
            raise ValueError(f"{found[0]} is not a field: use {', '.join(FIELDS)}")
    if template.count(TITLE) > 1:
        raise ValueError(f"{TITLE} may stand there once")
    if set(_FIELD.sub("", template)) & {"{", "}"}:
        raise ValueError("{ and } belong to fields such as {class} or {n:02}")
    return template


def names_of(template: str, slices: Iterable[Mapping[str, object]]) -> list[str]:
    """One for each, no two alike. A field without a value leaves nothing behind, neither do the spaces around it."""
    taken: set[str] = set()
    names = []
    for values in slices:
        name = _filled(template, values)
        number = 2
        while (unique := name if number == 2 and name not in taken else f"{name} ({number})") in taken:
            number += 1
        taken.add(unique)
        names.append(unique)
    return names


def _filled(template: str, values: Mapping[str, object]) -> str:
    def fill(found: re.Match[str]) -> str:
        if found[1] == "title":
            return TITLE
        value = values.get(found[1])
        text = "" if value is None else str(value).replace("{", "(").replace("}", ")")
        return text.zfill(int(found[2])) if found[2] and text else text

    text = " ".join(_FIELD.sub(fill, template).split())
    return text[:LONGEST].strip() or "slice"
