"""What works on this machine, and the mend for what does not."""

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import embedded
from .config import Settings
from .db import open_database
from .devices import choose_precision, find_device
from .errors import NeuralibError
from .executors import Executor
from .executors.registry import load_registry
from .objects import open_objects
from .queues import open_queues
from .weights import AUTO, Resolver
from .worker import make_resolver

Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    detail: str
    mend: str = ""


async def examine(settings: Settings, data: Path, cache: Path) -> list[Finding]:
    """Look at everything a NeuraLib on this machine would use. Downloads nothing."""
    return [
        Finding("ok", "python", f"{sys.version.split()[0]} on {sys.platform}, {os.cpu_count()} cores"),
        await asyncio.to_thread(_device, settings),
        _folder(data),
        *await asyncio.to_thread(_embedded),
        *await _external(settings),
        *await asyncio.to_thread(_models, settings, cache),
    ]


def _bad(what: str, error: NeuralibError) -> Finding:
    return Finding("bad", what, error.detail, error.mend)


def _device(settings: Settings) -> Finding:
    try:
        device = find_device(settings.device.name)
    except NeuralibError as error:
        return _bad("device", error)
    return Finding("ok", "device", f"{device.name}: {device.title}; {', '.join(sorted(device.precisions))}")


def _folder(data: Path) -> Finding:
    existing = next(p for p in (data, *data.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return Finding(
            "bad", "data", f"{existing} cannot be written", "Choose another directory with --data."
        )
    level: Level = "ok" if free > 5 else "note"
    return Finding(level, "data", f"{data}, {free:.0f} GB free", "" if level == "ok" else "Free some space.")


def _embedded() -> list[Finding]:
    found = []
    for name, program in embedded.describe().items():
        if isinstance(program, NeuralibError):
            found.append(_bad(name, program))
        else:
            found.append(Finding("ok" if program.from_wheel else "note", name, str(program)))
    return found


async def _external(settings: Settings) -> list[Finding]:
    found = []
    if settings.database.url is not None:
        try:
            async with open_database(settings.database.url.get_secret_value(), size=1, timeout_s=5.0) as db:
                await db.check()
            found.append(Finding("ok", "database", "PostgreSQL answers"))
        except NeuralibError as error:
            found.append(_bad("database", error))
    if settings.redis.url is not None:
        try:
            async with open_queues(settings.redis.url.get_secret_value(), timeout_s=5.0) as queues:
                await queues.check()
            found.append(Finding("ok", "redis", "Redis answers"))
        except NeuralibError as error:
            found.append(_bad("redis", error))
    if settings.storage.kind == "s3":
        try:
            async with open_objects(settings) as objects:
                await objects.check()
            found.append(Finding("ok", "storage", f"{settings.storage.endpoint or 'AWS'} answers"))
        except NeuralibError as error:
            found.append(_bad("storage", error))
    return found


def _models(settings: Settings, cache: Path) -> list[Finding]:
    resolver = make_resolver(settings, cache)
    registry = load_registry()
    return [weights_of(settings, resolver, registry.get(name)) for name in registry.names]


def weights_of(settings: Settings, resolver: Resolver, executor: type[Executor[Any]]) -> Finding:
    """Which weights the next job of a model would run on, as far as can be said without asking a hub."""
    name = executor.name
    try:
        choose_precision(settings.device.precision, executor.precisions, find_device(settings.device.name))
        if not executor.checkpoints:
            return Finding("ok", name, "needs no weights")
        wanted = settings.weights.default.get(name, AUTO)
        outlook = resolver.outlook(name, executor.checkpoints, wanted)
    except NeuralibError as error:
        return _bad(name, error)
    chances = [f"{c.name} if its hub answers" for c, source in outlook if source == "hub"]
    certain = [f"{c.name} ({source}, {_short(c.license)})" for c, source in outlook if source != "hub"]
    if certain:
        return Finding("ok", name, ", else ".join(chances + certain))
    mend = f"Run `neuralib models pull {name}` where its hub is reachable, or set weights.paths."
    return Finding("note", name, ", ".join(chances) or "no weights on this machine", mend)


def _short(license_: str) -> str:
    return license_.partition(":")[0]
