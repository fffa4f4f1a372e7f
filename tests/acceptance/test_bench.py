"""`neuralib bench`: the installed models beside their published packages, on real weights."""

from pathlib import Path

import soundfile

from acceptance.harness import neuralib, write_tones

SPEECH = Path(__file__).parents[1] / "data" / "speech.ogg"


def test_every_model_answers_as_its_package_does(tmp_path):
    samples, rate = soundfile.read(SPEECH, frames=80_000)
    soundfile.write(tmp_path / "speech.wav", samples, rate)
    models = "demucs/htdemucs_untrained,basic-pitch,whisper"
    done = neuralib("bench", "--pairs", "1", "--allow-untrained", "--models", models, tmp_path / "speech.wav")
    assert done.returncode == 0, (done.stdout, done.stderr)
    rows = {line.split("/")[0]: line for line in done.stdout.splitlines() if "/" in line.split(" ")[0]}
    assert set(rows) == {"demucs", "basic-pitch", "whisper"}
    for row in rows.values():
        assert "@sha256:" in row
        assert "yes: " in row
        assert "cpu" in row
    assert "SNR" in rows["demucs"]
    assert "MIDI identical" in rows["basic-pitch"]
    assert "words and times the same" in rows["whisper"]
    assert "torch 2." in done.stdout


def test_a_model_without_a_package_is_said_to_have_none(tmp_path):
    done = neuralib("bench", "--models", "echo", write_tones(tmp_path / "song.wav", 1))
    assert done.returncode == 0, done.stderr
    assert "no published package" in done.stdout


def test_no_pairs_are_refused():
    done = neuralib("bench", "--pairs", "0")
    assert done.returncode == 2
    assert "at least 1" in done.stderr
