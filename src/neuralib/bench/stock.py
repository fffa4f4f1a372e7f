"""The published packages, run as they are on weights that lie on this machine: the other side of every comparison."""

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralib.audio import Samples
from neuralib.weights import Weights

NoteEvents = list[tuple[float, float, int, float, list[int] | None]]
"""Of `basic_pitch`: start and end in seconds, pitch, amplitude, bends."""


def separator(
    networks: Sequence[Any], mixing: Sequence[Sequence[float]], device: str, sample_rate: int = 44_100
) -> Any:
    """`demucs.api.Separator` without shifts, with networks that it is given instead of a repository's."""
    from demucs.api import Separator
    from demucs.apply import BagOfModels

    class Given(Separator):
        def _load_model(self) -> None:
            self._model = BagOfModels(list(networks), [list(row) for row in mixing])
            self._audio_channels, self._samplerate = 2, sample_rate

    return Given(device=device, shifts=0)


def separate(separator: Any, mix: Samples, stems: Sequence[str]) -> NDArray[np.float32]:
    """`(stems, 2, frames)` of a mix `(2, frames)` at the networks' rate."""
    import torch

    _, made = separator.separate_tensor(torch.from_numpy(mix))
    return np.stack([made[stem].cpu().numpy() for stem in stems])


def whisper_model(weights: Weights, device: str) -> Any:
    """Openai's own model, in fp32 from our copy of its weights. Raises ModelLoadFailed."""
    from dataclasses import asdict

    from whisper.model import ModelDimensions
    from whisper.model import Whisper as Model

    from neuralib.executors.whisper.loading import alignment_heads, read_checkpoint

    dims, tensors = read_checkpoint(weights.files[0])
    model = Model(ModelDimensions(**asdict(dims)))
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    heads = np.zeros((dims.n_text_layer, dims.n_text_head), dtype=bool)
    heads[tuple(np.transpose(alignment_heads(weights.name, dims)))] = True
    import torch

    model.register_buffer("alignment_heads", torch.from_numpy(heads).to_sparse(), persistent=False)
    return model.eval().to(device)


def transcribe(
    model: Any, samples: NDArray[np.float32], *, fp16: bool = False, **options: Any
) -> dict[str, Any]:
    """`whisper.transcribe` with words on mono samples at 16 kHz; its own fp16 keeps the weights in fp32."""
    import torch
    import whisper

    torch.manual_seed(0)
    return dict(whisper.transcribe(model, samples, word_timestamps=True, fp16=fp16, **options))


def basic_pitch_model(file: Path) -> Any:
    """`basic_pitch`'s model on ONNX Runtime. Raises ImportError where the package's own needs are not installed."""
    logging.disable(logging.WARNING)  # the package says at import which back ends are missing
    try:
        from basic_pitch.inference import Model
    finally:
        logging.disable(logging.NOTSET)
    return Model(file)


def predict(model: Any, song: Path) -> tuple[dict[str, Any], Any, NoteEvents]:
    """`basic_pitch.inference.predict`: posteriorgrams, MIDI, note events."""
    from basic_pitch.inference import predict as published

    with contextlib.redirect_stdout(io.StringIO()):
        output: tuple[dict[str, Any], Any, NoteEvents] = published(song, model)
    return output


def midi_bytes(midi: Any) -> bytes:
    """The file that the package would write."""
    file = io.BytesIO()
    midi.write(file)
    return file.getvalue()
