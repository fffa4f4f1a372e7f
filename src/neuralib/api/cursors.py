"""Cursors of sorted lists: the place where a page ended, and the order that it is a place in.

A cursor opens nothing, for every query is bound to its owner; so its seal is no secret. It is there to tell a damaged one,
or one of another order or another owner, from ours. What it holds is read strictly all the same.
"""

import hashlib
import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from neuralib.db.finding import KEYS, Key, Place, Value
from neuralib.errors import InvalidCursor

_SEAL = 8


def encode_place(owner: UUID, keys: Sequence[Key], words: str | None, place: Place) -> str:
    """Opaque to clients."""
    values = [v.isoformat() if isinstance(v, datetime) else v for v in place.values]
    payload = json.dumps([values, place.id.hex], separators=(",", ":")).encode()
    return urlsafe_b64encode(_seal(owner, keys, words, payload) + payload).decode().rstrip("=")


def decode_place(owner: UUID, keys: Sequence[Key], words: str | None, text: str | None) -> Place | None:
    """Raises InvalidCursor unless `encode_place` made the text for this owner and this order."""
    if text is None:
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        seal, payload = raw[:_SEAL], raw[_SEAL:]
        if seal != _seal(owner, keys, words, payload):
            raise InvalidCursor
        values, id_ = json.loads(payload)
        place = Place(
            tuple(_read(key, value) for key, value in zip(keys, values, strict=True)), UUID(hex=id_)
        )
    except (ValueError, TypeError, OverflowError, AttributeError, RecursionError, NotBase64) as error:
        raise InvalidCursor from error
    if encode_place(owner, keys, words, place) != text:
        raise InvalidCursor
    return place


def _seal(owner: UUID, keys: Sequence[Key], words: str | None, payload: bytes) -> bytes:
    order = json.dumps([[[key.name, key.descending] for key in keys], words]).encode()
    return hashlib.blake2b(order + b"\0" + payload, digest_size=_SEAL, key=owner.bytes).digest()


def _read(key: Key, value: Any) -> Value:
    type_, nullable = KEYS[key.name]
    if value is None and nullable:
        return None
    return _READERS[type_](value)


def _moment(value: Any) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    return value


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or abs(number) > 1e30:
        raise ValueError("no number")
    return number


def _small(value: Any) -> int:
    if value not in range(6):
        raise ValueError("no rating")
    return int(value)


_READERS: Mapping[str, Callable[[Any], Value]] = {
    "timestamptz": _moment,
    "text": _text,
    "float8": _number,
    "real": _number,
    "int": _small,
}
