"""The short form of scripts/chaos.py: each fault of the table, small."""

from pathlib import Path

import pytest

from faults.row import Scale
from faults.stores import Stores
from faults.table import FAULTS, run_fault

SEED = 6


pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", FAULTS)
async def test_the_promise_holds_under(name: str, fault_stores: Stores, tmp_path: Path) -> None:
    row = await run_fault(name, Scale(long=False, seed=SEED), fault_stores, tmp_path)
    print(row.counts)
    assert row.holds, row
