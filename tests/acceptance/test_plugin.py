"""A third-party executor: installed by pip, found, listed, validated and run, with no change to our code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from acceptance.harness import neuralib, write_tones

PLUGIN = Path(__file__).parents[1] / "plugins" / "neuralib-reverse"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where pip put the plug-in: beside our environment, not in it."""
    folder = tmp_path_factory.mktemp("plugin")
    words = ["install", "--quiet", "--no-deps", "--target", str(folder), str(PLUGIN)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    return {"PYTHONPATH": str(folder)}


def test_it_is_listed(installed):
    done = neuralib("models", env=installed)
    line = next(line for line in done.stdout.splitlines() if line.startswith("reverse"))
    assert "neuralib-reverse 0.3.0" in line
    assert "reverse" not in neuralib("models").stdout


def test_it_runs(installed, tmp_path):
    song = write_tones(tmp_path / "song.wav", 3)
    done = neuralib("process", song, "-o", tmp_path / "out", "--models", "reverse", env=installed)
    assert done.returncode == 0, done.stderr
    before, _ = soundfile.read(song, dtype="int16")
    after, _ = soundfile.read(tmp_path / "out" / "mix.wav", dtype="int16")
    assert (after[::-1] == before).all()
    job = json.loads((tmp_path / "out" / "manifest.json").read_text())["jobs"][0]
    assert job["result"]["facts"] == {"backwards": True}
    assert job["params"] == {"block": 65536}
