"""The short form of scripts/bench/scale_out.py: several workers on one queue. Their speed is the bench's affair."""

from pathlib import Path

import pytest

from faults import crowd
from faults.row import Row
from faults.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_several_workers_share_the_work_and_do_none_twice(fault_stores: Stores, tmp_path: Path) -> None:
    row = Row("several workers")
    await crowd.throughput(row, fault_stores, tmp_path, [crowd.HERE] * 3, each=6, seconds=0.3)
    assert row.holds, row


async def test_one_owner_s_flood_lets_another_s_jobs_through(fault_stores: Stores, tmp_path: Path) -> None:
    row = Row("a flood")
    share = await crowd.fair_share(
        row, fault_stores, tmp_path, [crowd.HERE] * 2, flood=60, others=4, seconds=0.3
    )
    assert row.holds, (row, share)
