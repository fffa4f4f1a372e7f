"""`neuralib process`: one song in, a folder out, no server to start."""

import json
import shutil

import mido
import pytest
import soundfile

from acceptance.harness import neuralib, write_tones


def test_the_demo_song_comes_apart(tmp_path):
    done = neuralib("demo", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"vocals.wav", "drums.wav", "bass.wav", "other.wav", "bass.mid", "manifest.json"} <= made
    assert {"lyrics.lrc", "lyrics.srt", "lyrics.txt", "lyrics.json"} <= made
    assert not [name for name in made if name.endswith(".part")]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    frames = manifest["track"]["audio"]["frames"]
    for stem in ("vocals", "drums", "bass", "other"):
        info = soundfile.info(tmp_path / "out" / f"{stem}.wav")
        assert (info.frames, info.samplerate) == (frames, manifest["track"]["audio"]["sample_rate"])
    assert list(mido.MidiFile(tmp_path / "out" / "bass.mid"))
    assert (tmp_path / "out" / "lyrics.txt").read_text().split()
    separated = next(job for job in manifest["jobs"] if job["operation"] == "separate")
    assert separated["result"]["weights"]["trained"]
    assert separated["result"]["weights"]["sha256"] in separated["model"]
    assert separated["result"]["precision"] == "fp32"
    assert "null_dbfs" in separated["result"]["facts"]
    assert "%" in done.stdout


def test_where_only_cleared_weights_may_run_the_bundled_ones_do_and_say_so(tmp_path):
    song, safe = write_tones(tmp_path / "song.wav", 1), {"NEURALIB_WEIGHTS_COMMERCIAL_SAFE": "1"}
    done = neuralib("process", song, "-o", tmp_path / "out", "--models", "demucs", env=safe)
    assert done.returncode == 0, done.stderr
    (job,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["jobs"]
    weights = job["result"]["weights"]
    assert (weights["name"], weights["source"], weights["license"]) == ("hdemucs_mini", "bundled", "MIT")
    assert job["model"] == f"demucs/hdemucs_mini@sha256:{weights['sha256']}"
    assert "demucs/hdemucs_mini@sha256:" in done.stdout
    refused = neuralib("process", song, "-o", tmp_path / "no", "--models", "demucs/htdemucs", env=safe)
    assert refused.returncode == 1
    assert "demucs/htdemucs is licensed unclear" in refused.stderr
    doctor = neuralib("doctor", env=safe)
    assert "hdemucs_mini (bundled, MIT)" in doctor.stdout


def test_what_exists_is_replaced_whole(tmp_path):
    song = write_tones(tmp_path / "song.wav", 1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("old")
    done = neuralib("process", song, "-o", out, "--models", "echo")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "manifest.json").read_text())["files"][0]["file"] == "mix.wav"


def bad_inputs(folder):
    (folder / "empty.mp3").touch()
    (folder / "paper.mp3").write_bytes(b"%PDF-1.7\n" + b"x" * 4000)
    (folder / "short.mp3").write_bytes(b"\xff\xfb\x90\x00" + b"\x00" * 40)
    soundfile.write(folder / "none.wav", [], 44100)
    soundfile.write(folder / "nan.wav", [float("nan")] * 44100, 44100, subtype="FLOAT")
    return ["nowhere.wav", "empty.mp3", "paper.mp3", "short.mp3", "none.wav", "nan.wav"]


@pytest.mark.parametrize(
    "name", ["nowhere.wav", "empty.mp3", "paper.mp3", "short.mp3", "none.wav", "nan.wav"]
)
def test_a_bad_song_is_one_clear_line(tmp_path, name):
    assert name in bad_inputs(tmp_path)
    done = neuralib("process", tmp_path / name, "-o", tmp_path / "out", "--models", "echo")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "demux"], "demux"),
        (["--models", "demucs/nope"], "nope"),
        (["--device", "tpu", "--models", "echo"], "tpu"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_a_bad_wish_is_one_clear_line(tmp_path, words, said):
    song = write_tones(tmp_path / "song.wav", 1)
    done = neuralib("process", song, "-o", tmp_path / "out", *words)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_models_and_doctor_tell_what_is_here():
    listed = neuralib("models")
    assert listed.returncode == 0, listed.stderr
    for word in ("demucs", "basic-pitch", "whisper", "echo", "htdemucs_ft"):
        assert word in listed.stdout
    verified = neuralib("models", "verify", "basic-pitch")
    assert verified.returncode == 0, verified.stderr
    assert "sha256:" in verified.stdout
    doctor = neuralib("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "postgres" in doctor.stdout


def test_serve_without_servers_names_what_is_missing():
    done = neuralib("serve")
    assert done.returncode == 2
    assert "NEURALIB_DATABASE_URL" in done.stderr


def test_nothing_of_a_run_is_left_in_the_temporary_folder(tmp_path):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    scratch.chmod(0o711)
    tmp_path.chmod(0o711)
    song = write_tones(tmp_path / "song.wav", 1)
    env = {"TMPDIR": str(scratch)}
    done = neuralib("process", song, "-o", tmp_path / "out", "--models", "echo", env=env)
    if done.returncode == 0:
        assert not list(scratch.iterdir())
    shutil.rmtree(scratch)
