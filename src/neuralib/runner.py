"""The one thread that owns the loaded executors of a model. Weights load once and stay until they are idle."""

import asyncio
import errno
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from .devices import DeviceInfo, choose_precision, find_device
from .errors import ExecutorFailed, ModelLoadFailed, NeuralibError, StorageFull
from .executors import Executor, Output, Params, Precision, Recording, RunContext, Weights
from .weights import AUTO, Resolver

log = structlog.get_logger(__name__)

MAX_LOADED = 2
"""Checkpoints of one model that stay resident side by side."""
THREADS = "model-"
"""How the names of our threads begin."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An executor with its weights on a device."""

    executor: Executor[Any]
    weights: Weights | None
    device: str
    precision: Precision
    load_s: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "weights": self.weights.as_dict() if self.weights else None,
            "device": self.device,
            "precision": self.precision,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made, by what, and how long it took in seconds."""

    output: Output
    by: Loaded
    infer_s: float


class Runner:
    """Loads and runs one model. Every call of the executor happens on the same thread, one at a time."""

    def __init__(
        self,
        executor: type[Executor[Any]],
        resolver: Resolver,
        *,
        device: str = AUTO,
        precision: str = AUTO,
        threads: int = 0,
        default: str = AUTO,
    ) -> None:
        self.model = executor.name
        self._class = executor
        self._resolver = resolver
        self._device_name = device
        self._precision = precision
        self._threads = threads
        self._default = default
        self._device: DeviceInfo | None = None
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=THREADS + executor.name)
        self._busy_until = time.monotonic()

    @property
    def loaded(self) -> list[Loaded]:
        """What is resident, most recently used last."""
        return list(self._loaded.values())

    async def load(self, checkpoint: str | None) -> Loaded:
        """The executor with these weights, from memory when it is there. Raises WeightsUnavailable,
        WeightsChecksumMismatch, ModelLicenseForbidden, ModelLoadFailed, DeviceUnavailable, PrecisionUnsupported.
        """
        return await self._on_thread(self._load, checkpoint or self._default)

    async def run(
        self,
        checkpoint: str | None,
        recording: Recording,
        params: Params,
        scratch: Path,
        report: Callable[[int, int], None],
    ) -> Outcome:
        """Run on the model's thread; `report(0, 0)` says that it has begun. Raises what `load` raises and what the
        executor raises; what is not ours becomes ExecutorFailed.
        """
        context = RunContext(scratch, report)
        return await self._on_thread(self._run, checkpoint or self._default, recording, params, context)

    async def unload_idle(self, idle_s: float) -> None:
        """Give back the memory of what nobody used for so long."""
        if self._loaded and self._idle_s() > idle_s:
            await self._on_thread(self._unload_idle, idle_s)

    def close(self) -> None:
        """Let the thread end once it is idle. What it is doing is stopped through `report`, not here."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _on_thread(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Who is cancelled before its turn leaves the line at once."""
        future = self._thread.submit(copy_context().run, partial(call, *args, **kwargs))
        return await outlasting(asyncio.wrap_future(future), give_up=future.cancel)

    def _idle_s(self) -> float:
        return time.monotonic() - self._busy_until

    def _load(self, checkpoint: str) -> Loaded:
        self._busy_until = float("inf")
        try:
            if checkpoint in self._loaded:
                self._loaded.move_to_end(checkpoint)
                return self._loaded[checkpoint]
            while len(self._loaded) >= MAX_LOADED:
                self._drop_oldest("room")
            loaded = self._loaded[checkpoint] = self._load_anew(checkpoint)
            return loaded
        finally:
            self._busy_until = time.monotonic()

    def _load_anew(self, checkpoint: str) -> Loaded:
        started = time.monotonic()
        executor = self._class()
        try:
            device = self._prepare_device()
            precision = choose_precision(self._precision, self._class.precisions, device)
            weights = (
                self._resolver.resolve(self.model, self._class.checkpoints, checkpoint)
                if self._class.checkpoints
                else None
            )
            executor.load(weights, device.name, precision)
        except NeuralibError:
            raise
        except BaseException as error:  # SystemExit too: what a plug-in does must not end the worker
            log.exception("model.load_failed", model=self.model)
            raise ModelLoadFailed(f"{self.model} did not load: {type(error).__name__}") from error
        loaded = Loaded(executor, weights, device.name, precision, time.monotonic() - started)
        log.info(
            "model.loaded",
            model=self.model,
            weights=weights.name if weights else None,
            source=weights.source if weights else None,
            device=device.name,
            precision=precision,
            seconds=round(loaded.load_s, 3),
        )
        return loaded

    def _prepare_device(self) -> DeviceInfo:
        if self._device is None:
            import torch

            if self._threads:
                torch.set_num_threads(self._threads)
            self._device = find_device(self._device_name)
        return self._device

    def _run(self, checkpoint: str, recording: Recording, params: Params, context: RunContext) -> Outcome:
        context.report(0, 0)
        loaded = self._load(checkpoint)  # others may have had it evicted while this run waited for its turn
        self._busy_until = float("inf")
        started = time.monotonic()
        try:
            output = loaded.executor.run(recording, params, context)
            _check_facts(output)
        except NeuralibError:
            raise
        except BaseException as error:  # SystemExit too: what a plug-in does must not end the worker
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFull("the scratch folder has no room left") from error
            log.exception("executor.failed", model=self.model)
            raise ExecutorFailed(f"{self.model} failed: {type(error).__name__}") from error
        finally:
            self._busy_until = time.monotonic()
        return Outcome(output, loaded, time.monotonic() - started)

    def _unload_idle(self, idle_s: float) -> None:
        while self._loaded and self._idle_s() > idle_s:  # a job may have come while this waited for its turn
            self._drop_oldest("idle")

    def _drop_oldest(self, reason: str) -> None:
        name, loaded = self._loaded.popitem(last=False)
        try:
            loaded.executor.unload()
        except Exception:
            log.exception("model.unload_failed", model=self.model, weights=name)
        log.info("model.unloaded", model=self.model, weights=name, reason=reason)


def computing() -> bool:
    """Whether a model's thread is alive in this process."""
    return any(thread.name.startswith(THREADS) for thread in threading.enumerate())


async def outlasting(ended: asyncio.Future[_T], give_up: Callable[[], bool] = lambda: False) -> _T:
    """Wait for what a thread does. Cancelled, wait all the same unless `give_up` could call it off: the thread has our
    files in its hands. Cancelled twice, leave it alone.
    """
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if not give_up():
            await asyncio.wait([ended])
            if not ended.cancelled():
                ended.exception()  # seen: the cancellation is what the caller hears of
        raise


def _check_facts(output: Output) -> None:
    """They go into PostgreSQL. Raises ExecutorFailed now, when it is clear whose mistake it is."""
    for facts in (output.facts, *(o.facts for o in output.audio), *(o.facts for o in output.files)):
        try:
            text = json.dumps(dict(facts), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ExecutorFailed(f"the model's facts are not JSON: {error}") from error
        if "\\u0000" in text:
            raise ExecutorFailed("the model's facts hold NUL, which PostgreSQL cannot keep")
