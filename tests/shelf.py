"""Small recordings, and shelves of rows without bytes."""

import io
import wave

import numpy as np


def tone(seconds: float = 0.2, hz: float = 440.0) -> bytes:
    """A 16-bit mono wav."""
    samples = 12000 * np.sin(2 * np.pi * hz * np.arange(round(8000 * seconds)) / 8000)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
