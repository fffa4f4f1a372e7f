"""The page fits the API that it was written for."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_pages_types_are_those_of_the_api() -> None:
    if not (ROOT / "web" / "node_modules").is_dir():
        pytest.skip("the page was not built here: scripts/page")
    done = subprocess.run(
        [ROOT / "scripts" / "page", "check"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
