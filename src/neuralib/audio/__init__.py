"""Sound in and out: what a file is, decoding it safely, recordings on disk, resampling, encoding.

Importing this package loads numpy and nothing heavier; PyAV runs in a child process, soundfile and soxr load when
they are first needed.
"""

from neuralib.audio.decode import SUBTYPES, AudioInfo, DecodeLimits, decode, probe
from neuralib.audio.encode import FORMATS, EncodedInfo, choose_subtype, encode
from neuralib.audio.peaks import PeaksShape
from neuralib.audio.recording import Recording, RecordingWriter, Samples
from neuralib.audio.resample import Quality, Resampling, resample, resample_blocks, resampled_frames
from neuralib.audio.sniff import HEAD_BYTES, describe, sniff

__all__ = [
    "FORMATS",
    "HEAD_BYTES",
    "SUBTYPES",
    "AudioInfo",
    "DecodeLimits",
    "EncodedInfo",
    "PeaksShape",
    "Quality",
    "Recording",
    "RecordingWriter",
    "Resampling",
    "Samples",
    "choose_subtype",
    "decode",
    "describe",
    "encode",
    "probe",
    "resample",
    "resample_blocks",
    "resampled_frames",
    "sniff",
]
