"""Requests that no client should send, made from seeds: every route of the table, from valid down to noise."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from neuralib.api.routes import FORM, ROUTES, Route

BOUNDARY = "B0undary"
UUID = "01a211c2-07eb-71de-afed-c41e6dcffe22"


@dataclass(frozen=True)
class Raw:
    """One request as it goes onto the line. `body` None: none."""

    route: str
    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    version: str = "HTTP/1.1"
    newline: bytes = b"\r\n"
    length: str | None = None
    """What Content-Length says; None: the truth."""
    cut: float = 1.0
    """How much of the bytes is sent before we hang up."""

    def encoded(self) -> bytes:
        headers = [("Host", "127.0.0.1"), *self.headers]
        if self.body is not None and "transfer-encoding" not in {name.lower() for name, _ in self.headers}:
            headers.append(("Content-Length", self.length or str(len(self.body))))
        lines = [f"{self.method} {self.target} {self.version}", *(f"{n}: {v}" for n, v in headers), "", ""]
        head = self.newline.join(line.encode("utf-8", "surrogatepass") for line in lines)
        whole = head + (self.body or b"")
        return whole[: max(1, int(len(whole) * self.cut))]


Mutation = Callable[[Raw, random.Random], Raw]


class Malformed:
    """Requests without end. `ids` are of things that exist, by the name of their path parameter."""

    def __init__(self, rng: random.Random, ids: dict[str, list[str]], audio: bytes) -> None:
        self._rng = rng
        self._ids = ids
        self._audio = audio

    def __iter__(self) -> Iterator[Raw]:
        while True:
            for route in ROUTES:
                yield self._one(route)

    def _one(self, route: Route) -> Raw:
        raw = self._valid(route)
        for mutation in self._rng.sample(MUTATIONS, self._rng.choice((0, 1, 1, 1, 2, 2, 3))):
            raw = mutation(raw, self._rng)
        return raw

    def _valid(self, route: Route) -> Raw:
        """As a client might send it; some values of the body are already wrong."""
        path = route.path
        for name, ids in self._ids.items():
            path = path.replace(f"{{{name}}}", self._rng.choice(ids))
        path = path.replace("{", "").replace("}", "")
        if route.body is not None:
            value = _value(_schema(route.body), {}, self._rng)
            self._name_things(value)
            body = json.dumps(value).encode()
            return Raw(route.name, route.method, path, [("Content-Type", route.media_types[0])], body)
        if route.form is not None:
            body = multipart(("file", "song.wav", self._audio))
            return Raw(
                route.name, route.method, path, [("Content-Type", f"{FORM}; boundary={BOUNDARY}")], body
            )
        return Raw(route.name, route.method, path + _query(route, self._rng))

    def _name_things(self, value: Any) -> None:
        """Put an asset that exists where a body asks for one, so that what lies behind is reached too."""
        inputs = value.get("inputs") if isinstance(value, dict) else None
        for each in inputs if isinstance(inputs, list) else ():
            if isinstance(each, dict) and "asset_id" in each and self._rng.random() < 0.7:
                each["asset_id"] = self._rng.choice(self._ids["asset"])


def multipart(*parts: tuple[str, str | None, bytes], head: str = "") -> bytes:
    """A form of (name, file name, content); `head` goes into the head of each part."""
    whole = b""
    for name, filename, content in parts:
        named = "" if filename is None else f'; filename="{filename}"'
        lines = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{head}\r\n'
        whole += lines.encode("utf-8", "surrogatepass") + content + b"\r\n"
    return whole + f"--{BOUNDARY}--\r\n".encode()


# ── values ────────────────────────────────────────────────────────────────────────────────────────────

TEXTS = (
    "", "a", "null", "None", "true", "-1", "0", "1e999", "NaN", "\0", "\ud800", "\u202e", "\ufeff", "é" * 300,
    "x" * 10_000, "'; drop table jobs; --", "../../etc/passwd", "%00", "%s%n", "{{7*7}}", "${jndi:ldap://x}",
    "<script>", "\r\nX: y", "٣", UUID, UUID.upper(), "00000000-0000-0000-0000-000000000000", "AQ", "=" * 30,
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308, 5e-324)


def _wrong(rng: random.Random) -> Any:
    return rng.choice((None, True, [], {}, [[]], {"": ""}, rng.choice(TEXTS), rng.choice(NUMBERS)))


def _value(schema: dict[str, Any], defs: dict[str, Any], rng: random.Random, depth: int = 0) -> Any:
    """Something that fits a JSON schema, more or less."""
    defs = schema.get("$defs", defs)
    if rng.random() < 0.06 or depth > 6:
        return _wrong(rng)
    if "$ref" in schema:
        return _value(defs[schema["$ref"].rpartition("/")[2]], defs, rng, depth)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _value(rng.choice(schema[several]), defs, rng, depth)
    if "const" in schema or "enum" in schema:
        return schema.get("const", rng.choice(schema.get("enum", [None])))
    return _of_kind(schema, defs, rng, depth)


def _of_kind(schema: dict[str, Any], defs: dict[str, Any], rng: random.Random, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            names = [
                n
                for n in schema.get("properties", {})
                if rng.random() < 0.6 or n in schema.get("required", ())
            ]
            made = {name: _value(schema["properties"][name], defs, rng, depth + 1) for name in names}
            return made | ({rng.choice(TEXTS): _wrong(rng)} if rng.random() < 0.1 else {})
        case "array":
            return [_value(schema.get("items", {}), defs, rng, depth + 1) for _ in range(rng.randint(0, 3))]
        case "string":
            return UUID if schema.get("format") == "uuid" else rng.choice(("echo", "Evening", "wav", *TEXTS))
        case "integer" | "number":
            return rng.choice((schema.get("minimum", 1), schema.get("maximum", 10), *NUMBERS))
        case "boolean":
            return rng.random() < 0.5
        case _:
            return _wrong(rng)


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _query(route: Route, rng: random.Random) -> str:
    whole = _schema(route.query)
    properties, defs = whole.get("properties", {}), whole.get("$defs", {})
    given = [(name, _word(schema, defs, rng)) for name, schema in properties.items() if rng.random() < 0.4]
    return "?" + "&".join(f"{quote(n)}={quote(v, errors='replace')}" for n, v in given) if given else ""


def _word(schema: dict[str, Any], defs: dict[str, Any], rng: random.Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(TEXTS)
    value = str(_value(schema, defs, rng))
    return "0.2" if value.replace(".", "").isdigit() and "wait" in str(schema).lower() else value[:2000]


# ── mutations ─────────────────────────────────────────────────────────────────────────────────────────

SEGMENTS = (
    "..", ".", "", "%2e%2e", "%00", "%", "%zz", "%c0%af", "%ff", "a" * 9000, "\\", ";", "é", UUID + "0", "*", "@x:1",
    "%0d%0aX:%20y", "..%2f..%2fetc%2fpasswd", "٣", "{asset}",
)  # fmt: skip
HEADERS = (
    ("Range", ("bytes=-0", "bytes=5-1", "bytes=0-0,2-3", "bytes=" + "9" * 40 + "-", "bytes=-", "lines=1-2", "bytes=-5")),
    ("If-Match", ('"1"', "*", '"', 'W/"1"', '"' + "1" * 5000 + '"', '"1-zz"')),
    ("If-None-Match", ("*", '"', ",,,", '"x"' * 500)),
    ("If-Range", ('"x"', "Tue, 99 Foo 9999", "")),
    ("Last-Event-ID", ("-1", "1e9", "٣", "9" * 30, "", "abc", "0")),
    ("Prefer", ("wait=0", "wait=abc", "wait=-5", "respond-async, wait=99999999", "wait")),
    ("Idempotency-Key", ("", "k" * 300, "\x01", '"quoted"', "é", "same")),
    ("Content-Type", ("", "text/plain", "application/json; charset=utf-7", "multipart/form-data", ";;;", "a/b" * 900,
                      "multipart/form-data; boundary=" + "b" * 300, 'multipart/form-data; boundary="', "application/xml")),
    ("Content-Encoding", ("gzip", "br", "deflate, gzip", "identity", "x")),
    ("Accept", ("image/png", "*/*;q=nan", "")),
    ("Expect", ("100-continue", "200-ok")),
    ("Authorization", ("Bearer", "Bearer x", "Basic Og==", "Bearer " + "x" * 7000, "\xff")),
    ("Cookie", ("a=b", "=" * 500, "a=\x01")),
    ("Origin", ("null", "http://evil.example", "http://[", "http://127.0.0.1")),
    ("Sec-Fetch-Site", ("cross-site", "same-origin", "x")),
    ("X-Request-ID", ("x" * 65, "ok", "a b", "\x01")),
    ("X-Forwarded-For", ("::1", "x" * 500)),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "identity", "chunked, chunked", "xchunked")),
    ("Connection", ("close", "Upgrade", "keep-alive, x")),
    ("Upgrade", ("websocket", "h2c")),
    ("Host", ("", "evil.example", "localhost:99999", "[", "127.0.0.1", "a" * 300)),
    ("Content-Length", ("-1", "abc", "0", "1e3", "99999999999999999999", "+5", "5 5")),
    ("X\0Y", ("z",)), ("", ("x",)), ("Sp ace", ("x",)), ("X-Fold", ("a\r\n b",)), ("X-Long", ("x" * 9000,)),
    ("X-Smuggled", ("a\r\nHost: b",)),
)  # fmt: skip


def _path(raw: Raw, rng: random.Random) -> Raw:
    path, mark, query = raw.target.partition("?")
    parts = path.split("/")
    parts[rng.randrange(len(parts))] = rng.choice(SEGMENTS)
    return replace(raw, target=("/".join(parts) or "/") + mark + query)


def _more_query(raw: Raw, rng: random.Random) -> Raw:
    name = rng.choice(
        ("limit", "cursor", "wait_s", "tree", "parent_id", "ids", "x", "", "%00", "limit[]", "state")
    )
    value = quote(rng.choice(TEXTS), errors="replace")
    joint = "&" if "?" in raw.target else "?"
    return replace(raw, target=raw.target + f"{joint}{name}={value}" * rng.choice((1, 1, 2, 200)))


def _header(raw: Raw, rng: random.Random) -> Raw:
    name, values = rng.choice(HEADERS)
    return replace(raw, headers=[*raw.headers, (name, rng.choice(values))])


def _other_header(raw: Raw, rng: random.Random) -> Raw:
    """In the place of those that it had."""
    name, values = rng.choice(HEADERS)
    return replace(raw, headers=[(name, rng.choice(values))])


def _many_headers(raw: Raw, rng: random.Random) -> Raw:
    return replace(raw, headers=raw.headers + [(f"X-{n}", "y") for n in range(rng.choice((50, 130, 1000)))])


def _method(raw: Raw, rng: random.Random) -> Raw:
    methods = (
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "get",
        "P" * 300,
        "G ET",
        "",
    )
    return replace(raw, method=rng.choice(methods))


def _version(raw: Raw, rng: random.Random) -> Raw:
    return replace(
        raw, version=rng.choice(("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9", "", "HTTP/1.1 x", "ICE/1.0"))
    )


def _newline(raw: Raw, rng: random.Random) -> Raw:
    return replace(raw, newline=rng.choice((b"\n", b"\r", b"\r\n\r\n", b"\0\r\n")))


def _length(raw: Raw, rng: random.Random) -> Raw:
    lengths = ("0", "1", "-1", "abc", "99999999999", "8589934593", "+7", "0x10", "1, 1", "")
    return replace(raw, body=raw.body or b"{}", length=rng.choice(lengths))


def _cut(raw: Raw, rng: random.Random) -> Raw:
    return replace(raw, cut=rng.random())


def _body(raw: Raw, rng: random.Random) -> Raw:
    body = rng.choice((
        b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"{}" * 2, b"[" * 100_000, b'{"a":' * 50_000,
        b'{"name":"\\ud800"}', b'{"name":"\\u0000"}', b'{"name":NaN}', b'{"name":1e999}', b'{"a":1,"a":2}',
        b'{"name":"' + b"x" * (1 << 20) + b'"}', b'{"name":' + b"9" * 5000 + b"}", b"\0" * 1000, b"a=b&c=d",
        rng.randbytes(300),
    ))  # fmt: skip
    return replace(raw, body=body)


def _noise(raw: Raw, rng: random.Random) -> Raw:
    """Some bytes of the body are others."""
    data = bytearray(raw.body or b"{}")
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return replace(raw, body=bytes(data))


def _form(raw: Raw, rng: random.Random) -> Raw:
    song = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\4\0\0\0\1\0\1\0"
    body = rng.choice((
        multipart(), multipart(("file", "x.wav", song)), multipart(("file", "x", b"")), multipart(("x", None, b"1")),
        multipart(("meta", None, b"{"), ("file", "x", song)), multipart(*[("file", "x", b"")] * 150),
        multipart(("meta", None, b'{"name":"\\u0000"}'), ("file", "x", song)), multipart(("meta", None, b"[" * 60_000)),
        multipart(("file", "x", song))[:-9], multipart(("file", "x", song), head="Content-Encoding: gzip\r\n"),
        multipart(("file", "x", song), head="Content-Length: 3\r\n"), multipart(("file", "x", song), head="Bad\r\n"),
        multipart(("file", "x", song), head="X: " + "y" * 9000 + "\r\n"),
        multipart(("file", "x", song), head="Content-Type: multipart/mixed; boundary=C\r\n"),
        multipart(("file", "x", song), head="Content-Transfer-Encoding: base64\r\n"),
        multipart(("file", "../../\0\u202e" + "n" * 3000, song)), multipart(('fi"le', "x", song)),
        f"--{BOUNDARY}\r\n\r\n".encode() + song + f"\r\n--{BOUNDARY}--\r\n".encode(),
        b"--" * 5000, b"\r\n" * 5000, rng.randbytes(2000),
    ))  # fmt: skip
    return replace(raw, headers=[("Content-Type", f"{FORM}; boundary={BOUNDARY}")], body=body)


def _chunked(raw: Raw, rng: random.Random) -> Raw:
    chunks = rng.choice((
        b"0\r\n\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"zz\r\nabc", b"-1\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\nx",
        b"3\r\nabcde\r\n0\r\n\r\n", b"2;x=" + b"y" * 5000 + b"\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
        b"2\n{}\n0\n\n", b"\r\n", b"1\r\n{\r\n" * 2000 + b"0\r\n\r\n",
    ))  # fmt: skip
    return replace(raw, headers=[*raw.headers, ("Transfer-Encoding", "chunked")], body=chunks)


MUTATIONS: tuple[Mutation, ...] = (
    _path, _more_query, _header, _header, _header, _other_header, _many_headers, _method, _version, _newline, _length,
    _cut, _body, _body, _noise, _form, _form, _chunked,
)  # fmt: skip
