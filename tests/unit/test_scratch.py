"""Folders of processes: gone with them, however they end."""

import subprocess
import sys
from pathlib import Path

import pytest

from neuralib.errors import StorageUnavailable
from neuralib.scratch import open_scratch, remove_abandoned

HOLD = """
import sys, time
from pathlib import Path
from neuralib.scratch import open_scratch
with open_scratch(Path(sys.argv[1])) as folder:
    (folder / "gigabytes").write_bytes(b"0" * 1000)
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_scratch_goes_with_its_block(tmp_path: Path) -> None:
    with open_scratch(tmp_path / "place") as folder:
        (folder / "file").write_bytes(b"1")
    assert list((tmp_path / "place").iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        left = Path(child.stdout.readline().strip())
        assert remove_abandoned(tmp_path) == 0, "it lives"
        assert (left / "gigabytes").exists()
        child.kill()
        child.wait()
    with open_scratch(tmp_path) as folder:
        assert not left.exists()
        assert len(list(tmp_path.iterdir())) == 2, "ours and its lock"
        assert folder.is_dir()


def test_what_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "neuralib-scratch-").mkdir()
    (tmp_path / "song.lock").touch()
    assert remove_abandoned(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable), open_scratch(tmp_path / "file"):
        pass
