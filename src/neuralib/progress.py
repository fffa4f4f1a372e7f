"""How far a job is, and how long it will take: counted and measured, never guessed."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .pipeline import STAGES, stamp

INFER_SHARE = 0.95
"""How much of `fraction` belongs to inference; encoding and storing share the rest."""


@dataclass(slots=True)
class Progress:
    """How far a job is. Windows are counted, not guessed; `fraction` never falls within an attempt."""

    audio_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    stage: str = STAGES[0]
    done: int = 0
    total: int = 0
    _windows: float = 0.0
    _marks: list[tuple[float, int]] = field(default_factory=list)
    """When the run began, when its first windows were done, when its latest: (seconds, windows)."""

    def enter(self, stage: str) -> None:
        self.stage = stage
        self.changed.set()

    def count(self, done: int, total: int) -> None:
        """`done` of `total` windows; (0, 0) when the run begins."""
        if not self._marks or done > self.done:
            self._marks[2:] = [(self.clock(), done)]
        self.done, self.total = max(done, self.done), total
        self._windows = max(self._windows, done / total if total else 0.0)
        self.changed.set()

    def _pace(self) -> float | None:
        """Seconds a window takes. Models warm up: the first windows count only until there is as much to go by
        without them.
        """
        if len(self._marks) < 2:
            return None
        (began, none), (warm, first), (latest, done) = self._marks[0], self._marks[1], self._marks[-1]
        if done - first >= first - none:
            return (latest - warm) / (done - first)
        return (latest - began) / (done - none)

    def as_dict(self) -> dict[str, Any]:
        fraction = {"encode": INFER_SHARE, "store": 0.98, "done": 1.0}.get(
            self.stage, INFER_SHARE * self._windows
        )
        pace = self._pace() if self.stage == "infer" else None
        since = self.clock() - self._marks[-1][0] if self._marks else 0.0
        return {
            "fraction": round(fraction, 4),
            "stage": self.stage,
            "stage_index": STAGES.index(self.stage) if self.stage in STAGES else len(STAGES),
            "stages": list(STAGES),
            "done": self.done,
            "total": self.total,
            "unit": "windows",
            "rate_x": round(self.audio_s / self.total / pace, 2) if pace and self.total else None,
            "eta_s": round(max(0.0, pace * (self.total - self.done) - since), 1)
            if pace is not None
            else None,
            "updated_at": stamp(datetime.now(UTC)),
        }


@dataclass(slots=True)
class Fetching(Progress):
    """How far a download is, in bytes."""

    stage: str = "download"

    def as_dict(self) -> dict[str, Any]:
        pace = self._pace() if self.stage == "download" else None
        since = self.clock() - self._marks[-1][0] if self._marks else 0.0
        share = self.done / self.total if self.total else 0.0
        return {
            "fraction": 1.0 if self.stage == "done" else round(share, 4),
            "stage": self.stage,
            "stage_index": int(self.stage == "done"),
            "stages": ["download"],
            "done": self.done,
            "total": self.total,
            "unit": "bytes",
            "rate_x": None,
            "bytes_per_s": round(1 / pace) if pace else None,
            "eta_s": round(max(0.0, pace * (self.total - self.done) - since), 1)
            if pace and self.total
            else None,
            "updated_at": stamp(datetime.now(UTC)),
        }
