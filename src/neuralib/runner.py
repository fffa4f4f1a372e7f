"""The one thread that owns the loaded executors of a model. Weights load once and stay until they are idle."""

import asyncio
import json
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from .devices import DeviceInfo, choose_precision, find_device
from .errors import ExecutorFailed, ModelLoadFailed, NeuralibError, OutOfMemory, StorageFull
from .executors import Executor, Input, Output, Params, Precision, Recording, RunContext, Weights, Work
from .objects import is_full
from .residency import Residency
from .weights import AUTO, Resolver

log = structlog.get_logger(__name__)

MAX_LOADED = 2
"""Checkpoints of one model that stay resident side by side."""
GIVE_WAY_S = 5.0
"""How long one model waits for another to unload."""
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
    size: int = 0
    """Bytes of the files its weights came from."""

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


@dataclass(slots=True, eq=False)
class _Seat:
    """A run that shares the model with others, from its place in line to its end."""

    work: Work[Any]
    ended: Future[Outcome] = field(default_factory=Future)
    started: float = 0.0


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
        together: int = 1,
        residency: Residency | None = None,
    ) -> None:
        self.model = executor.name
        self._together = together
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
        self._lines: defaultdict[str, deque[_Seat]] = defaultdict(deque)
        self._calls: set[Future[Any]] = set()
        self._residency = residency or Residency()
        self._residency.join(self)

    @property
    def loaded(self) -> list[Loaded]:
        """What is resident, most recently used last."""
        return list(self._loaded.values())

    @property
    def together(self) -> int:
        """How many runs go side by side: one until something is loaded that gains from more."""
        return min(self._together, max((loaded.executor.together for loaded in self.loaded), default=1))

    @property
    def held(self) -> int:
        """Bytes of the weights that are resident."""
        return sum(loaded.size for loaded in self.loaded)

    @property
    def used_at(self) -> float:
        """When it was last at work, on the monotonic clock; infinity while it is."""
        return self._busy_until

    def give_way(self) -> bool:
        """Unload what was used longest ago, unless something is at work; whether that was done. For the threads of
        other models.
        """
        if self._idle_s() < 0 or not self._loaded:
            return False
        dropped = self._thread.submit(self._make_way)
        try:
            return dropped.result(GIVE_WAY_S)
        except TimeoutError:  # its thread waits for ours, or a job came
            return not dropped.cancel()

    async def load(self, checkpoint: str | None) -> Loaded:
        """The executor with these weights, from memory when it is there. Raises WeightsUnavailable,
        WeightsChecksumMismatch, ModelLicenseForbidden, ModelLoadFailed, DeviceUnavailable, PrecisionUnsupported.
        """
        name = checkpoint or self._default
        # A run that may join others must not wait here until they have ended.
        if self.together > 1 and (resident := self._loaded.get(name)) is not None:
            return resident
        return await self._on_thread(self._load, name)

    async def run(
        self,
        checkpoint: str | None,
        recording: Recording,
        params: Params,
        scratch: Path,
        report: Callable[[int, int], None],
        inputs: Sequence[Input] = (),
    ) -> Outcome:
        """Run on the model's thread; `report(0, 0)` says that it has begun. `inputs` are all of them, the recording
        too; without any, it is the only one. Raises what `load` raises and what the executor raises; what is not ours
        becomes ExecutorFailed.
        """
        context = RunContext(scratch, report, tuple(inputs) or (Input("audio", recording),))
        name, work = checkpoint or self._default, Work(recording, params, context)
        if min(self._together, self._class.together) == 1:
            return await self._on_thread(self._run, name, work)
        seat = _Seat(work)
        self._lines[name].append(seat)
        self._thread.submit(self._share, name)  # one turn for each seat: nobody is left behind
        return await outlasting(asyncio.wrap_future(seat.ended), give_up=seat.ended.cancel)

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
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return await outlasting(asyncio.wrap_future(future), give_up=future.cancel)

    def _idle_s(self) -> float:
        return time.monotonic() - self._busy_until

    def _load(self, checkpoint: str) -> Loaded:
        self._busy_until = float("inf")
        try:
            if checkpoint in self._loaded and self._surpassed(checkpoint):
                self._drop(checkpoint, "others are here now")
            if checkpoint in self._loaded:
                self._loaded.move_to_end(checkpoint)
                return self._loaded[checkpoint]
            while len(self._loaded) >= MAX_LOADED:
                self._drop_oldest("room")
            weights = self._resolve(checkpoint)
            size = _size(weights)
            while not self._residency.make_room(self, size) and self._loaded:
                self._drop_oldest("budget")
            loaded = self._loaded[checkpoint] = self._load_anew(weights, size)
            return loaded
        finally:
            self._busy_until = time.monotonic()

    def _surpassed(self, checkpoint: str) -> bool:
        """Whether weights that nobody named are not the first ones that are here any more: better ones were fetched."""
        weights = self._loaded[checkpoint].weights
        if checkpoint != AUTO or weights is None:
            return False
        choice = self._resolver.choice(self.model, self._class.checkpoints)
        return choice is not None and choice.name != weights.name

    def _resolve(self, checkpoint: str) -> Weights | None:
        try:
            self._prepare_device()
            checkpoints = self._class.checkpoints
            return self._resolver.resolve(self.model, checkpoints, checkpoint) if checkpoints else None
        except NeuralibError:
            raise
        except BaseException as error:
            raise self._unloadable(error) from error

    def _unloadable(self, error: BaseException) -> ModelLoadFailed:
        log.error("model.load_failed", model=self.model, exc_info=error)
        return ModelLoadFailed(f"{self.model} did not load: {type(error).__name__}")

    def _load_anew(self, weights: Weights | None, size: int) -> Loaded:
        started = time.monotonic()
        executor = self._class()
        try:
            device = self._prepare_device()
            precision = choose_precision(self._precision, self._class.precisions, device)
            executor.load(weights, device.name, precision)
        except NeuralibError:
            raise
        except BaseException as error:  # SystemExit too: what a plug-in does must not end the worker
            raise self._unloadable(error) from error
        loaded = Loaded(executor, weights, device.name, precision, time.monotonic() - started, size)
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

    def _run(self, checkpoint: str, work: Work[Any]) -> Outcome:
        work.context.report(0, 0)
        loaded = self._load(checkpoint)  # others may have had it evicted while this run waited for its turn
        self._busy_until = float("inf")
        started = time.monotonic()
        try:
            output = self._attempt(loaded.executor, work)
            failed = _wrong_facts(output)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: what a plug-in does must not end the worker
            failed = self._ours(error)
        finally:
            self._busy_until = time.monotonic()
        if failed is not None:
            raise failed
        return Outcome(output, loaded, time.monotonic() - started)

    def _attempt(self, executor: Executor[Any], work: Work[Any]) -> Output:
        """Once more when the device is full and idle models could make room."""
        try:
            return executor.run(work.recording, work.params, work.context)
        except OutOfMemory:
            if not self._residency.drop_idle(self):
                raise
        return executor.run(work.recording, work.params, work.context)

    def _share(self, checkpoint: str) -> None:
        """Run who is in line for these weights side by side. When the device is full, those who have not ended begin
        again: once with the room that idle models leave, then with half as many side by side.
        """
        dropped = False
        while (broken := self._side_by_side(checkpoint)) is not None:
            seats, error = broken
            if not isinstance(error, OutOfMemory):
                return _fail(seats, error)
            if not dropped and self._residency.drop_idle(self):
                dropped = True
            elif len(seats) > 1:
                self._together = len(seats) // 2
            else:
                return _fail(seats, error)
            self._lines[checkpoint].extendleft(reversed(seats))
        return None

    def _side_by_side(self, checkpoint: str) -> tuple[list[_Seat], NeuralibError] | None:
        """Once. Who comes meanwhile joins, until a call waits for the thread or somebody for other weights. Who did
        not get to the end is returned, with the reason.
        """
        seats: dict[Work[Any], _Seat] = {}
        first = self._next_seat(checkpoint)
        if first is None:
            return None  # an earlier turn took everybody along
        seats[first.work] = first
        given = [first.work]

        def take() -> Work[Any] | None:
            if given:
                return given.pop()
            seat = None if self._others(checkpoint) else self._next_seat(checkpoint)
            if seat is None:
                return None
            seats[seat.work] = seat
            return seat.work

        try:
            loaded = self._load(checkpoint)
            self._busy_until = float("inf")
            size = min(self._together, loaded.executor.together)
            for work, result in loaded.executor.run_together(take, size):
                self._settle(seats.pop(work), result, loaded)
            error: NeuralibError = ExecutorFailed(f"{self.model} lost a run that it took")
        except BaseException as caught:  # noqa: BLE001 - each of them hears of it
            error = self._ours(caught)
        finally:
            self._busy_until = time.monotonic()
        return (list(seats.values()), error) if seats else None

    def _next_seat(self, checkpoint: str) -> _Seat | None:
        """The next in line who still wants to run, now that it begins."""
        line = self._lines[checkpoint]
        while line:
            seat = line.popleft()
            begins_again = seat.ended.running()
            if not begins_again and not seat.ended.set_running_or_notify_cancel():
                continue
            try:
                seat.work.context.report(0, 0)
            except NeuralibError as error:
                seat.ended.set_exception(error)
                continue
            seat.started = time.monotonic()
            return seat
        return None

    def _others(self, checkpoint: str) -> bool:
        """Whether somebody waits whom joining runs could keep waiting for ever."""
        calls = any(not (call.running() or call.done()) for call in self._calls.copy())
        return calls or any(line for name, line in self._lines.copy().items() if name != checkpoint)

    def _settle(self, seat: _Seat, result: Output | Exception, loaded: Loaded) -> None:
        error = result if isinstance(result, Exception) else _wrong_facts(result)
        if error is not None:
            seat.ended.set_exception(self._ours(error))
        elif isinstance(result, Output):
            seat.ended.set_result(Outcome(result, loaded, time.monotonic() - seat.started))

    def _ours(self, error: BaseException) -> NeuralibError:
        """What a run raised, as an error that has a code."""
        if isinstance(
            error, OutOfMemory
        ):  # without the frames that it came through: they hold what filled the device
            return OutOfMemory(error.detail)
        if isinstance(error, NeuralibError):
            return error
        if is_full(error):
            return StorageFull("the scratch folder has no room left")
        log.error("executor.failed", model=self.model, exc_info=error)
        return ExecutorFailed(f"{self.model} failed: {type(error).__name__}")

    def _unload_idle(self, idle_s: float) -> None:
        while self._loaded and self._idle_s() > idle_s:  # a job may have come while this waited for its turn
            self._drop_oldest("idle")

    def _make_way(self) -> bool:
        if not self._loaded:
            return False
        self._drop_oldest("budget")
        return True

    def _drop_oldest(self, reason: str) -> None:
        self._drop(next(iter(self._loaded)), reason)

    def _drop(self, name: str, reason: str) -> None:
        loaded = self._loaded.pop(name)
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


def _size(weights: Weights | None) -> int:
    return sum(path.stat().st_size for path in weights.files) if weights else 0


def _fail(seats: list[_Seat], error: NeuralibError) -> None:
    for seat in seats:
        seat.ended.set_exception(error)


def _wrong_facts(output: Output) -> NeuralibError | None:
    """Facts go into PostgreSQL: what is wrong with them is said now, when it is clear whose mistake it is."""
    for facts in (output.facts, *(o.facts for o in output.audio), *(o.facts for o in output.files)):
        try:
            text = json.dumps(dict(facts), allow_nan=False)
        except (TypeError, ValueError) as error:
            return ExecutorFailed(f"the model's facts are not JSON: {error}")
        if "\\u0000" in text:
            return ExecutorFailed("the model's facts hold NUL, which PostgreSQL cannot keep")
    return None
