"""A checkpoint is data. One that is a program in disguise is refused and does not run."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from neuralib.errors import ModelLoadFailed
from neuralib.executors.demucs.networks import read
from neuralib.executors.whisper.loading import read_checkpoint


class Program:
    """Makes the file `mark` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def as_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps({"dims": {}, "model_state_dict": Program(mark)}))


def as_torch(path: Path, mark: Path) -> None:
    torch.save({"dims": {}, "model_state_dict": Program(mark)}, path)


def as_old_torch(path: Path, mark: Path) -> None:
    torch.save({"dims": {}, "model_state_dict": Program(mark)}, path, _use_new_zipfile_serialization=False)


def as_zip(path: Path, mark: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Program(mark)))


DISGUISES = [as_pickle, as_torch, as_old_torch, as_zip]


@pytest.mark.parametrize("write", DISGUISES)
@pytest.mark.parametrize(
    ("load", "name"),
    [(read_checkpoint, "a.pt"), (read_checkpoint, "a.safetensors"), (read, "a.safetensors"), (read, "a.th")],
)
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_a_program_in_a_checkpoint_is_refused_and_does_not_run(tmp_path, write, load, name):
    mark = tmp_path / "it-ran"
    write(tmp_path / name, mark)
    with pytest.raises(ModelLoadFailed):
        load(tmp_path / name)
    assert not mark.exists()


def test_the_disguise_works_on_who_does_not_look(tmp_path):
    mark = tmp_path / "it-ran"
    as_torch(tmp_path / "a.pt", mark)
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert mark.exists()
