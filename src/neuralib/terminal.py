"""What the command line shows: greetings, bars, tables. Plain lines where standard output is no terminal."""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from .bench import Line
from .bench.pairs import Result, machine
from .config import Settings, default_cache
from .devices import find_device
from .doctor import Finding, weights_of
from .entities import Credential
from .executors.registry import Registry
from .services import Services
from .weights import Resolver
from .worker import make_resolver

console = Console(highlight=False)


class Greeting:
    """What a server prints once it answers."""

    def __init__(self, data: Path | None) -> None:
        self._data = data

    async def show(self, url: str, services: Services) -> None:
        console.print(
            f"NeuraLib is up at [bold]{url}[/bold]  (API {url}/api/v1, reference {url}/docs)", soft_wrap=True
        )
        if self._data is not None:
            console.print(f"data    {self._data}", soft_wrap=True)
            await self.show_worker(url, services)

    async def show_worker(self, url: str, services: Services) -> None:
        del url
        device = await asyncio.to_thread(find_device, services.settings.device.name)
        console.print(f"device  {device.name} ({device.title})")
        resolver = make_resolver(services.settings, default_cache())
        for name in services.registry.names:
            executor = services.registry.get(name)
            if executor.checkpoints:
                found = await asyncio.to_thread(weights_of, services.settings, resolver, executor)
                console.print(f"model   {name}: {escape(found.detail)}", soft_wrap=True)


class Bars:
    """One progress bar a job."""

    def __init__(self) -> None:
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[UUID, TaskID] = {}
        self._said: dict[UUID, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def change(self, job: UUID, label: str, body: dict[str, Any]) -> None:
        """Show where a job is."""
        progress = body.get("progress") or {}
        fraction = 1.0 if body["state"] == "succeeded" else min(float(progress.get("fraction") or 0.0), 0.99)
        note = _note(body, progress)
        if job not in self._tasks:
            self._tasks[job] = self._progress.add_task(label, total=1.0, note="")
        self._progress.update(self._tasks[job], completed=fraction, note=escape(note))
        step = (body["state"], int(fraction * 10))
        if not self._live and self._said.get(job) != step:
            self._said[job] = step
            print(f"{label:<24} {fraction:>4.0%}  {note}", flush=True)


def _note(body: dict[str, Any], progress: dict[str, Any]) -> str:
    if body["state"] == "succeeded":
        result = body.get("result") or {}
        factor = result.get("realtime_factor")
        return f"done  {_model(body['model'])}  {result.get('device')} {result.get('precision')}" + (
            f"  {factor:g}x realtime" if factor else ""
        )
    if body["state"] != "running":
        return str(body["state"]) + (f": {body['error']['detail']}" if body.get("error") else "")
    eta = progress.get("eta_s")
    windows = f"window {progress['done']} of {progress['total']}" if progress.get("total") else ""
    return "  ".join(
        filter(None, [str(progress.get("stage", "")), windows, f"ETA {eta:.0f} s" if eta else ""])
    )


def _model(name: str) -> str:
    """demucs/htdemucs@sha256:0123456789ab: enough of the digest to recognise it."""
    head, at, digest = name.partition("@sha256:")
    return f"{head}{at}{digest[:12]}"


def show_key(secret: str, key: Credential, owner: str) -> None:
    """The secret alone on standard output, for scripts; the rest beside it."""
    print(secret)
    until = f"until {key.expires_at:%Y-%m-%d %H:%M %Z}" if key.expires_at else "until it is revoked"
    print(
        f"key {key.id} of {owner}: {', '.join(sorted(key.scopes))}, {until}. It cannot be shown again.",
        file=sys.stderr,
    )


def list_keys(keys: Sequence[tuple[Credential, str]]) -> None:
    """All but the secrets."""
    table = Table("id", "owner", "name", "begins", "scopes", "expires", "last used", box=None)
    for key, owner in keys:
        table.add_row(
            str(key.id),
            escape(owner),
            escape(key.name),
            key.prefix,
            ",".join(sorted(key.scopes)),
            f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "never",
            f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
        )
    console.print(table, soft_wrap=True)


def summarise(song: Any, into: Path) -> int:
    """What `process` made and what failed; the exit code."""
    for file in song.files:
        print(into / file["file"])
    print(into / "manifest.json")
    for job in song.failed:
        detail = job.error["detail"] if job.error else job.state.value
        print(f"neuralib: {job.operation} with {job.model} failed: {detail}", file=sys.stderr)
    return 1 if song.failed else 0


def list_models(registry: Registry, resolver: Resolver, settings: Settings) -> int:
    """Every model and its weights: what is here, under which licence."""
    table = Table(box=None, pad_edge=False)
    for column in ("MODEL", "OPERATION", "WEIGHTS", "HERE", "LICENCE", "COMMERCIAL", "PLUG-IN"):
        table.add_column(column, no_wrap=True)
    for name in registry.names:
        executor, plugin = registry.get(name), registry.plugin(name)
        source = f"{plugin.name} {plugin.version}"
        if not executor.checkpoints:
            table.add_row(name, executor.operation, "none needed", "", executor.code_license, "", source)
        for checkpoint in executor.checkpoints:
            here = resolver.here(name, checkpoint) if checkpoint.trained else None
            marked = checkpoint.name == settings.weights.default.get(name)
            table.add_row(
                name,
                executor.operation,
                checkpoint.name + (" (default)" if marked else ""),
                here or ("no" if checkpoint.trained else "untrained"),
                checkpoint.license.partition(":")[0],
                "yes" if checkpoint.commercial_use else "no",
                source,
            )
    _wide().print(table)
    return 0


def show_bench(lines: Iterable[Line], pairs: int) -> int:
    """`bench`: how fast each model is here and beside its package; the exit code, 1 when an answer differs."""
    table = Table(box=None, pad_edge=False)
    for column in ("MODEL", "DEVICE", "PRECISION", "X REAL TIME", "X PACKAGE", "PACKAGE", "SAME ANSWER"):
        table.add_column(column, no_wrap=True)
    passed = True
    for line in lines:
        speed, ratio, gate = _speeds(line.result) if line.result else ("", "", line.note)
        table.add_row(
            _model(line.model), line.device, line.precision, speed, ratio, line.against, escape(gate)
        )
        passed = passed and (line.result is None or line.result.gate.ok)
    _wide().print(table)
    print(f"{machine()}; medians of {pairs} interleaved pairs, in brackets the middle 90 % of the median")
    return 0 if passed else 1


def _speeds(result: Result) -> tuple[str, str, str]:
    if not result.gate.ok:
        return "", "", f"NO: {result.gate.text}"
    low, high = result.interval()
    ratio = f"{result.ratio:.2f} ({low:.2f} to {high:.2f})"
    return f"{result.realtime:.1f}" if result.realtime else "", ratio, f"yes: {result.gate.text}"


def _wide() -> Console:
    """A table's lines stay whole where nobody sees where they would break."""
    return Console(highlight=False, width=None if console.is_terminal else 1000)


def bytes_progress(done: int, total: int) -> None:
    """A download, on one line of a terminal."""
    if console.is_terminal:
        of = f" of {total / 1e6:.0f}" if total else ""
        console.print(f"{done / 1e6:.0f}{of} MB", end="\r")


def report(findings: Sequence[Finding]) -> int:
    """`doctor`: a line for what works, a line and its mend for what does not; the exit code."""
    for finding in findings:
        mark = {"ok": "[green]ok[/green]  ", "note": "[yellow]note[/yellow]", "bad": "[red]bad[/red] "}[
            finding.level
        ]
        console.print(f"{mark}  {finding.what:<12} {escape(finding.detail)}", soft_wrap=True)
        if finding.mend:
            console.print(f"      {'':<12} → {escape(finding.mend)}", soft_wrap=True)
    return 1 if any(f.level == "bad" for f in findings) else 0
