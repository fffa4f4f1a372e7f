"""The one thread that owns the loaded executors of a model. Weights load once and stay until they are idle."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from .devices import DeviceInfo, choose_precision, find_device
from .errors import ExecutorFailed, ModelLoadFailed, NeuralibError
from .executors import Executor, Output, Params, Precision, Recording, RunContext, Weights
from .weights import AUTO, Resolver

log = structlog.get_logger(__name__)

MAX_LOADED = 2
"""Checkpoints of one model that stay resident side by side."""


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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"model-{executor.name}")
        self._busy_until = time.monotonic()

    @property
    def loaded(self) -> list[Loaded]:
        """What is resident, most recently used last."""
        return list(self._loaded.values())

    async def load(self, checkpoint: str | None) -> Loaded:
        """The executor with these weights, from memory when it is there. Raises WeightsUnavailable,
        WeightsChecksumMismatch, ModelLicenseForbidden, ModelLoadFailed, DeviceUnavailable, PrecisionUnsupported.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._load, checkpoint or self._default
        )

    async def run(
        self,
        loaded: Loaded,
        recording: Recording,
        params: Params,
        scratch: Path,
        report: Callable[[int, int], None],
    ) -> Outcome:
        """Run on the model's thread. Raises what the executor raises; what is not ours becomes ExecutorFailed."""
        context = RunContext(scratch, report)
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._run, loaded, recording, params, context
        )

    async def unload_idle(self, idle_s: float) -> None:
        """Give back the memory of what nobody used for so long."""
        if self._loaded and time.monotonic() - self._busy_until > idle_s:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._unload_all)

    def close(self) -> None:
        """Let the thread end once it is idle. What it is doing is stopped through `report`, not here."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _load(self, checkpoint: str) -> Loaded:
        self._busy_until = float("inf")
        try:
            if checkpoint in self._loaded:
                self._loaded.move_to_end(checkpoint)
                return self._loaded[checkpoint]
            loaded = self._loaded[checkpoint] = self._load_anew(checkpoint)
            while len(self._loaded) > MAX_LOADED:
                _, evicted = self._loaded.popitem(last=False)
                evicted.executor.unload()
            return loaded
        finally:
            self._busy_until = time.monotonic()

    def _load_anew(self, checkpoint: str) -> Loaded:
        started = time.monotonic()
        device = self._prepare_device()
        precision = choose_precision(self._precision, self._class.precisions, device)
        weights = (
            self._resolver.resolve(self.model, self._class.checkpoints, checkpoint)
            if self._class.checkpoints
            else None
        )
        executor = self._class()
        try:
            executor.load(weights, device.name, precision)
        except NeuralibError:
            raise
        except Exception as error:
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

    def _run(self, loaded: Loaded, recording: Recording, params: Params, context: RunContext) -> Outcome:
        self._busy_until = float("inf")
        started = time.monotonic()
        try:
            output = loaded.executor.run(recording, params, context)
        except NeuralibError:
            raise
        except Exception as error:
            log.exception("executor.failed", model=self.model)
            raise ExecutorFailed(f"{self.model} failed: {type(error).__name__}") from error
        finally:
            self._busy_until = time.monotonic()
        return Outcome(output, loaded, time.monotonic() - started)

    def _unload_all(self) -> None:
        while self._loaded:
            name, loaded = self._loaded.popitem(last=False)
            loaded.executor.unload()
            log.info("model.unloaded", model=self.model, weights=name, reason="idle")
