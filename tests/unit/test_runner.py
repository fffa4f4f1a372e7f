"""One thread, loaded once, whatever a plug-in does on it."""

import asyncio
import errno
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import structlog

from neuralib.errors import (
    DeviceUnavailable,
    ExecutorFailed,
    Interrupted,
    ModelLoadFailed,
    NeuralibError,
    OutOfMemory,
    PrecisionUnsupported,
    StorageFull,
    UnknownModel,
    WeightsUnavailable,
)
from neuralib.executors import (
    AudioOutput,
    Checkpoint,
    Executor,
    FileOutput,
    Hub,
    Output,
    Params,
    Plan,
    Recording,
    RunContext,
    Untrained,
)
from neuralib.runner import MAX_LOADED, Outcome, Runner
from neuralib.weights import File, Resolver

WITHIN_S = 20.0
NAMES = tuple(f"w{n}" for n in range(MAX_LOADED + 1))


class Lab(Executor[Params]):
    """Does as it is told, and notes on which thread."""

    name = "lab"
    title = "Lab"
    operation = "lab"
    params = Params
    checkpoints = tuple(
        Checkpoint(name, name, license="MIT", commercial_use=True, sources=(Untrained(),)) for name in NAMES
    )
    log: list[tuple[str, str, str]]
    on_load: Callable[[], Any] = staticmethod(lambda: None)
    on_run: Callable[[RunContext], Output | None] = staticmethod(lambda _: None)
    on_unload: Callable[[], Any] = staticmethod(lambda: None)

    def load(self, weights, device, precision):
        self.weights = weights.name
        self.note("load")
        self.on_load()

    @classmethod
    def plan(cls, info, params, checkpoint):
        return Plan(1)

    def run(self, recording, params, context):
        self.note("run")
        return self.on_run(context) or Output()

    def unload(self):
        self.note("unload")
        self.on_unload()
        self.weights = "nothing"

    def note(self, what: str) -> None:
        self.log.append((what, self.weights, threading.current_thread().name))


@pytest.fixture
def lab() -> type[Lab]:
    class Mine(Lab):
        log: ClassVar = []

    return Mine


@pytest.fixture
def runner(lab: type[Lab], tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(lab, Resolver(tmp_path, offline=True), device="cpu")
    yield runner
    runner.close()


async def run(
    runner: Runner, checkpoint: str | None = "w0", report: Callable[[int, int], None] = lambda *_: None
) -> Outcome:
    recording = Recording(Path("nowhere"), 8000, 1, 0)
    async with asyncio.timeout(WITHIN_S):
        return await runner.run(checkpoint, recording, Params(), Path("scratch"), report)


def did(lab: type[Lab]) -> list[str]:
    return [f"{what} {weights}" for what, weights, _ in lab.log]


async def test_weights_load_once_and_everything_happens_on_one_thread(runner: Runner, lab: type[Lab]) -> None:
    loaded = await runner.load("w0")
    assert loaded.as_dict() == {
        "weights": loaded.weights.as_dict() if loaded.weights else None,
        "device": "cpu",
        "precision": "fp32",
    }
    for _ in range(2):
        assert (await run(runner)).by is loaded
    assert did(lab) == ["load w0", "run w0", "run w0"]
    assert {thread for _, _, thread in lab.log} == {"model-lab_0"}


async def test_the_one_used_longest_ago_makes_room_before_the_next_is_loaded(
    runner: Runner, lab: type[Lab]
) -> None:
    for name in ("w0", "w1", "w0", "w2"):
        await runner.load(name)
    assert did(lab) == ["load w0", "load w1", "unload w1", "load w2"]
    assert [loaded.weights.name for loaded in runner.loaded if loaded.weights] == ["w0", "w2"]


async def test_a_run_whose_weights_made_room_meanwhile_loads_them_again(
    runner: Runner, lab: type[Lab]
) -> None:
    for name in NAMES:
        await runner.load(name)
    await run(runner, "w0")
    assert did(lab)[-2:] == ["load w0", "run w0"]


async def test_idle_weights_are_given_back(runner: Runner, lab: type[Lab]) -> None:
    await runner.load("w0")
    await runner.unload_idle(60.0)
    assert did(lab) == ["load w0"]
    await runner.unload_idle(0.0)
    assert did(lab) == ["load w0", "unload w0"]
    assert runner.loaded == []
    await run(runner)
    assert did(lab)[-2:] == ["load w0", "run w0"]


async def test_weights_that_a_job_came_for_meanwhile_are_not_given_back(
    runner: Runner, lab: type[Lab]
) -> None:
    await runner.load("w0")
    await asyncio.sleep(0.05)
    # in line: the run, and then the unloading that found everything idle a moment ago
    await asyncio.gather(run(runner), runner.unload_idle(0.04))
    assert did(lab) == ["load w0", "run w0"]


async def test_an_executor_that_cannot_unload_does_not_stand_in_the_way(
    runner: Runner, lab: type[Lab]
) -> None:
    lab.on_unload = staticmethod(lambda: 1 // 0)
    for name in NAMES:
        await runner.load(name)
    assert len(runner.loaded) == MAX_LOADED


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────


def raises(error: BaseException) -> Any:
    def fail(*_: Any) -> Any:
        raise error

    return staticmethod(fail)


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (OutOfMemory("full"), OutOfMemory),
        (ZeroDivisionError("/home/somebody"), ExecutorFailed),
        (StopIteration(), ExecutorFailed),
        (SystemExit(3), ExecutorFailed),
        (KeyboardInterrupt(), ExecutorFailed),
        (FileNotFoundError(errno.ENOENT, "gone"), ExecutorFailed),
        (OSError(errno.ENOSPC, "full"), StorageFull),
    ],
)
async def test_what_a_run_raises_is_ours_or_becomes_it(runner, lab, raised, becomes) -> None:
    lab.on_run = raises(raised)
    with pytest.raises(NeuralibError) as caught:
        await run(runner)
    assert type(caught.value) is becomes
    assert "somebody" not in caught.value.detail
    lab.on_run = staticmethod(lambda _: None)
    await run(runner)


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (WeightsUnavailable("no"), WeightsUnavailable),
        (ImportError("no torch"), ModelLoadFailed),
        (SystemExit(3), ModelLoadFailed),
    ],
)
async def test_what_did_not_load_is_loaded_again(runner, lab, raised, becomes) -> None:
    lab.on_load = raises(raised)
    with pytest.raises(becomes):
        await runner.load("w0")
    assert runner.loaded == []
    lab.on_load = staticmethod(lambda: None)
    assert (await runner.load("w0")).load_s >= 0


async def test_weights_device_and_precision_that_are_not_there_say_so(lab: type[Lab], tmp_path: Path) -> None:
    resolver = Resolver(tmp_path, offline=True)
    for options, error in (
        ({"device": "tpu"}, DeviceUnavailable),
        ({"device": "cpu", "precision": "fp16"}, PrecisionUnsupported),
        ({"device": "cpu", "default": "nobody"}, UnknownModel),
    ):
        runner = Runner(lab, resolver, **options)
        with pytest.raises(error):
            await runner.load(None)
        runner.close()


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": np.float32(1)}, {"x": {1, 2}}, {"x": "\0"}])
async def test_facts_that_no_database_takes_are_the_executor_s_mistake(runner, lab, tmp_path, facts) -> None:
    for output in (
        Output(facts=facts),
        Output(files=(FileOutput("midi", "a.mid", "audio/midi", tmp_path, facts),)),
        Output(audio=(AudioOutput("mix", "a", Recording(tmp_path, 1, 1, 0), facts),)),
    ):
        lab.on_run = staticmethod(lambda _, output=output: output)
        with pytest.raises(ExecutorFailed, match="facts"):
            await run(runner)


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────


class Window:
    """One long window of the model."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.over = threading.Event()

    def __call__(self, context: RunContext) -> None:
        self.entered.set()
        self.over.wait(WITHIN_S)
        context.progress(1, 2)


@pytest.fixture
def window(lab: type[Lab]) -> Iterator[Window]:
    window = Window()
    lab.on_run = staticmethod(window)
    yield window
    window.over.set()


async def entered(window: Window) -> None:
    assert await asyncio.to_thread(window.entered.wait, WITHIN_S)


async def test_a_run_that_is_stopped_is_waited_for(runner: Runner, window: Window) -> None:
    def report(done: int, total: int) -> None:
        if (done, total) != (0, 0):
            raise Interrupted

    running = asyncio.create_task(run(runner, report=report))
    await entered(window)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=0.1)
    assert not done, "the thread still has the run's files in its hands"
    window.over.set()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_run_that_is_stopped_twice_is_left_alone(runner: Runner, window: Window) -> None:
    running = asyncio.create_task(run(runner))
    await entered(window)
    for _ in range(2):
        running.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not window.over.is_set()


async def test_a_run_in_line_leaves_at_once_and_never_begins(
    runner: Runner, lab: type[Lab], window: Window
) -> None:
    first = asyncio.create_task(run(runner))
    await entered(window)
    second = asyncio.create_task(run(runner, "w1"))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    window.over.set()
    await first
    assert did(lab) == ["load w0", "run w0"]


async def test_a_run_says_when_it_begins_not_when_it_gets_in_line(runner: Runner, window: Window) -> None:
    begun = []
    first = asyncio.create_task(run(runner))
    await entered(window)
    second = asyncio.create_task(run(runner, report=lambda *count: begun.append(count)))
    await asyncio.sleep(0.01)
    assert begun == []
    window.over.set()
    await asyncio.gather(first, second)
    assert begun == [(0, 0), (1, 2)]


async def test_a_stop_that_came_while_in_line_is_heard_before_the_model_runs(
    runner: Runner, lab: type[Lab]
) -> None:
    def report(*_: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        await run(runner, report=report)
    assert did(lab) == []


async def test_what_the_thread_logs_names_its_job(runner: Runner, lab: type[Lab]) -> None:
    named = []
    lab.on_run = staticmethod(lambda _: named.append(structlog.contextvars.get_contextvars()))
    with structlog.contextvars.bound_contextvars(job="7"):
        await run(runner)
    assert named == [{"job": "7"}]


# ── runs that share the model ─────────────────────────────────────────────────────────────────────────


class Choir(Lab):
    """Takes whoever is there; everybody ends when `end` says so. Who asks for it by scratch folder breaks."""

    together = 3
    end: threading.Event
    joined: ClassVar[list[str]]

    def run_together(self, take, size):
        singing = []
        while True:
            while len(singing) < size and (work := take()) is not None:
                singing.append(work)
                self.joined.append(work.context.scratch.name)
            if self.end.wait(0.005):
                break
        for work in singing:
            broken = work.context.scratch.name == "broken"
            yield work, ValueError("its own fault") if broken else Output(facts={"with": len(singing)})


@pytest.fixture
def choir(tmp_path: Path) -> Iterator[tuple[type[Choir], Runner]]:
    class Mine(Choir):
        log: ClassVar = []
        joined: ClassVar = []
        end = threading.Event()

    runner = Runner(Mine, Resolver(tmp_path, offline=True), device="cpu", together=8)
    yield Mine, runner
    Mine.end.set()
    runner.close()


def sing(runner: Runner, name: str, checkpoint: str = "w0") -> asyncio.Task[Outcome]:
    work = Recording(Path("nowhere"), 8000, 1, 0), Params(), Path(name), lambda *_: None
    return asyncio.create_task(runner.run(checkpoint, *work))


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not what():  # noqa: ASYNC110 - what a model's thread does rings no bell
            await asyncio.sleep(0.001)


async def test_a_run_joins_those_under_way_and_loading_does_not_wait_for_them(choir) -> None:
    model, runner = choir
    first = sing(runner, "first")
    await until(lambda: model.joined == ["first"])
    async with asyncio.timeout(WITHIN_S):
        loaded = await runner.load("w0")
    others = [sing(runner, name) for name in ("second", "third", "fourth")]
    await until(lambda: len(model.joined) == 3)
    model.end.set()
    outcomes = await asyncio.gather(first, *others)
    assert [o.output.facts["with"] for o in outcomes] == [3, 3, 3, 1]
    assert all(o.by is loaded for o in outcomes)


async def test_the_error_of_one_run_is_not_that_of_those_beside_it(choir) -> None:
    model, runner = choir
    tasks = [sing(runner, name) for name in ("good", "broken")]
    await until(lambda: len(model.joined) == 2)
    model.end.set()
    good, broken = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(good, Outcome)
    assert isinstance(broken, ExecutorFailed)


async def test_what_breaks_the_model_breaks_all_who_share_it_and_nobody_waits_for_ever(choir) -> None:
    model, runner = choir
    await runner.load("w0")

    def broken(_self: Any, take: Callable[[], Any], _size: int) -> Any:
        taken = 0
        while taken < 2:
            taken += take() is not None
        raise ZeroDivisionError

    model.run_together = broken
    for outcome in await asyncio.gather(sing(runner, "one"), sing(runner, "two"), return_exceptions=True):
        assert isinstance(outcome, ExecutorFailed)


class Hall:
    """A device on which `holds` of them may sing; more break it, and so does anybody called giant."""

    def __init__(self, holds: int, full: threading.Event) -> None:
        self.holds, self.full = holds, full
        self.attempts: list[list[str]] = []

    def meets(self, take: Callable[[], Any], size: int) -> Any:
        singing: list[Any] = []
        self.attempts.append([])
        while True:
            while len(singing) < size and (work := take()) is not None:
                singing.append(work)
                self.attempts[-1].append(work.context.scratch.name)
            if len(singing) > self.holds or any(w.context.scratch.name == "giant" for w in singing):
                assert self.full.wait(WITHIN_S)
                raise OutOfMemory("full")
            if not singing:
                return
            yield singing.pop(0), Output()


async def test_on_a_full_device_half_as_many_begin_again_and_all_end_well(choir) -> None:
    model, runner = choir
    await runner.load("w0")
    hall = Hall(1, threading.Event())
    model.run_together = hall.meets
    tasks = [sing(runner, name) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    hall.full.set()
    outcomes = await asyncio.gather(*tasks)
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    assert hall.attempts[-1][-3:] == ["a", "b", "c"]
    assert runner.together == 1


async def test_one_too_big_for_the_device_fails_alone_and_may_come_again(choir) -> None:
    model, runner = choir
    hall = Hall(3, threading.Event())
    hall.full.set()
    model.run_together = hall.meets
    first, giant, last = await asyncio.gather(
        *(sing(runner, name) for name in ("a", "giant", "b")), return_exceptions=True
    )
    assert isinstance(first, Outcome)
    assert isinstance(last, Outcome)
    assert isinstance(giant, OutOfMemory)
    assert giant.retryable


async def test_a_run_for_other_weights_is_not_kept_waiting_by_those_who_join(choir) -> None:
    model, runner = choir
    first = sing(runner, "first")
    await until(lambda: model.joined == ["first"])
    foreign = sing(runner, "foreign", "w1")
    await asyncio.sleep(0)
    late = sing(runner, "late")
    model.end.set()
    outcomes = await asyncio.gather(first, foreign, late)
    assert [o.output.facts["with"] for o in outcomes] == [1, 1, 1]
    assert model.joined == ["first", "foreign", "late"]


async def test_a_run_that_is_called_off_in_line_never_joins(choir) -> None:
    model, runner = choir
    tasks = [sing(runner, name) for name in ("a", "b", "c")]
    await until(lambda: len(model.joined) == 3)
    late = sing(runner, "late")
    await asyncio.sleep(0)
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    model.end.set()
    await asyncio.gather(*tasks)
    assert model.joined == ["a", "b", "c"]


def test_a_process_does_not_wait_for_a_window_without_end(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from neuralib import cli, runner\n"
        "ThreadPoolExecutor(1, runner.THREADS).submit(time.sleep, 60)\n"
        "sys.exit(cli.main(['worker', '--config', 'nowhere.toml']))\n"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2, done.stderr
    assert "nowhere.toml" in done.stderr
    assert time.monotonic() - started < 50


@pytest.mark.asyncio
async def test_better_weights_that_came_meanwhile_take_the_place_of_those_nobody_named(
    tmp_path: Path,
) -> None:
    class Two(Lab):
        log: ClassVar = []
        checkpoints = (
            Checkpoint("good", "good", "MIT", True, (Hub(("https://hub.invalid/good.bin",), (None,), "m"),)),
            Checkpoint("small", "small", "MIT", True, (File(tmp_path / "small.bin"),)),
        )

    (tmp_path / "small.bin").write_bytes(b"small")
    runner = Runner(Two, Resolver(tmp_path, offline=True), device="cpu")
    try:
        loaded = [await runner.load(None)]
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "good.bin").write_bytes(b"good")
        loaded += [await runner.load("small"), await runner.load(None), await runner.load(None)]
    finally:
        runner.close()
    assert [each.weights and each.weights.name for each in loaded] == ["small", "small", "good", "good"]
    assert loaded[2] is loaded[3]
