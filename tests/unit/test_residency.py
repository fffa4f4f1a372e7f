"""Models that share a device within a limit."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from neuralib.errors import OutOfMemory
from neuralib.executors import Checkpoint, Executor, Output, Params, Plan, Recording
from neuralib.residency import Residency
from neuralib.runner import Runner
from neuralib.weights import Resolver

MIB = 1 << 20
WITHIN_S = 20.0


class Model(Executor[Params]):
    """Weighs a MiB."""

    title = operation = "lab"
    params = Params
    failures: ClassVar[list[Exception]] = []

    def load(self, weights, device, precision):
        """Nothing to bring."""

    @classmethod
    def plan(cls, info, params, checkpoint):
        return Plan(1)

    def run(self, recording, params, context):
        if self.failures:
            raise self.failures.pop()
        return Output()


@pytest.fixture
def make(tmp_path: Path):
    made = []

    def runner(name: str, residency: Residency) -> Runner:
        file = tmp_path / f"{name}.bin"
        file.write_bytes(bytes(MIB))
        checkpoints = tuple(
            Checkpoint(c, c, license="MIT", commercial_use=True, sources=()) for c in (name, f"{name}-2")
        )
        model = type(name, (Model,), {"name": name, "checkpoints": checkpoints, "failures": []})
        paths = {f"{name}/{c.name}": file for c in checkpoints}
        made.append(
            Runner(model, Resolver(tmp_path, offline=True, paths=paths), device="cpu", residency=residency)
        )
        return made[-1]

    yield runner
    for each in made:
        each.close()


async def test_the_model_idle_longest_gives_way_and_one_at_work_does_not(make) -> None:
    residency = Residency(2 * MIB)
    a, b, c = (make(name, residency) for name in ("a", "b", "c"))
    async with asyncio.timeout(WITHIN_S):
        for runner in (a, b, a, c):
            await runner.load(None)
        assert (a.held, b.held, c.held) == (MIB, 0, MIB)
        a._busy_until = float("inf")
        await b.load(None)
        assert (a.held, b.held, c.held) == (MIB, MIB, 0)


async def test_a_model_makes_room_for_its_own_next_weights_when_nobody_else_can(make) -> None:
    runner = make("a", Residency(MIB))
    async with asyncio.timeout(WITHIN_S):
        await runner.load("a")
        await runner.load("a-2")
    assert [loaded.weights.name for loaded in runner.loaded] == ["a-2"]


async def test_without_a_limit_everything_stays(make) -> None:
    residency = Residency(0)
    runners = [make(name, residency) for name in ("a", "b", "c")]
    async with asyncio.timeout(WITHIN_S):
        for runner in runners:
            await runner.load(None)
    assert [runner.held for runner in runners] == [MIB] * 3


@pytest.mark.parametrize(("idle", "failures"), [(True, 1), (True, 2), (False, 1)])
async def test_a_full_device_is_tried_again_once_idle_models_have_left_it(make, idle, failures) -> None:
    residency = Residency()
    a, b = (make(name, residency) for name in ("a", "b"))
    async with asyncio.timeout(WITHIN_S):
        await a.load(None)
        if idle:
            await b.load(None)
        a._class.failures.extend(OutOfMemory() for _ in range(failures))
        call = a.run(None, Recording(Path("x"), 8000, 1, 0), Params(), Path("y"), lambda *_: None)
        if idle and failures == 1:
            assert (await call).output == Output()
        else:
            with pytest.raises(OutOfMemory):
                await call
    assert b.held == 0


async def test_runs_that_share_a_full_device_begin_again_once_idle_models_have_left_it(make) -> None:
    residency = Residency()
    a, b = make("a", residency), make("b", residency)

    def run_together(_self, take, size):
        sizes.append(size)
        if b.held:
            raise OutOfMemory
        while (work := take()) is not None:
            yield work, Output()

    sizes: list[int] = []
    a._class.together, a._class.run_together, a._together = 4, run_together, 4
    async with asyncio.timeout(WITHIN_S):
        await b.load(None)
        outcome = await a.run(None, Recording(Path("x"), 8000, 1, 0), Params(), Path("y"), lambda *_: None)
    assert outcome.output == Output()
    assert sizes == [4, 4]
    assert b.held == 0
