"""Several MIDI files as one: every track of each, in its own time, on one tempo map."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import mido

from neuralib.errors import InputUnsupported

RESOLUTION = 960
"""Ticks of a quarter note in what is made: half a millisecond at 120 beats a minute."""
DEFAULT_TEMPO = 500_000
DRUMS = 9
"""The channel that General MIDI keeps for them."""
KEPT = frozenset({"lyrics", "text", "marker", "cue_marker"})
"""Meta messages that belong to a track; tempo and metre are the file's, names are given anew."""


@dataclass(frozen=True, slots=True)
class Source:
    """One MIDI file. `name` is what its tracks are called: bass, drums."""

    name: str
    content: bytes


class TempoMap:
    """Ticks to seconds and back: from each of `changes` (tick, microseconds a quarter) on, starting at tick 0."""

    def __init__(self, resolution: int, changes: Sequence[tuple[int, int]]) -> None:
        self.resolution = resolution
        self.ticks = [0]
        self.tempi = [DEFAULT_TEMPO]
        for tick, tempo in sorted(changes, key=lambda change: change[0]):
            if tick == self.ticks[-1]:
                self.tempi[-1] = tempo
            else:
                self.ticks.append(tick)
                self.tempi.append(tempo)
        self.seconds = [0.0]
        for place in range(1, len(self.ticks)):
            span = (self.ticks[place] - self.ticks[place - 1]) * self._second(place - 1)
            self.seconds.append(self.seconds[-1] + span)

    def _second(self, place: int) -> float:
        """Of one tick."""
        return self.tempi[place] / 1e6 / self.resolution

    def to_seconds(self, tick: int) -> float:
        place = bisect_right(self.ticks, tick) - 1
        return self.seconds[place] + (tick - self.ticks[place]) * self._second(place)

    def to_tick(self, seconds: float) -> int:
        place = bisect_right(self.seconds, seconds) - 1
        return self.ticks[place] + round((seconds - self.seconds[place]) / self._second(place))

    @property
    def is_default(self) -> bool:
        return self.tempi == [DEFAULT_TEMPO]


def merge(sources: Sequence[Source]) -> bytes:
    """One file of format 1: the tempo map of the first source that has one of its own, then the tracks of each source,
    every event at the second where it was. Raises InputUnsupported for what is no MIDI file. Blocking.
    """
    files = [(source.name, _read(source)) for source in sources]
    maps = [_tempo_map(file) for _, file in files]
    chosen = next((found for found in maps if not found.is_default), maps[0])
    scale = RESOLUTION / chosen.resolution
    common = TempoMap(
        RESOLUTION, [(round(t * scale), u) for t, u in zip(chosen.ticks, chosen.tempi, strict=True)]
    )
    out = mido.MidiFile(type=1, ticks_per_beat=RESOLUTION)
    out.tracks.append(_conductor(common))
    channels = count()
    for (name, file), own in zip(files, maps, strict=True):
        played = [track for track in file.tracks if any(not message.is_meta for message in track)]
        for number, track in enumerate(played, 1):
            channel = DRUMS if name == "drums" else _melodic(next(channels))
            title = name if len(played) == 1 else f"{name} {number}"
            out.tracks.append(_moved(track, title, channel, own, common))
    made = io.BytesIO()
    out.save(file=made)
    return made.getvalue()


def _read(source: Source) -> mido.MidiFile:
    try:
        file = mido.MidiFile(file=io.BytesIO(source.content), clip=True)
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise InputUnsupported(f"the MIDI of {source.name} cannot be read") from error
    if file.ticks_per_beat <= 0 or file.ticks_per_beat >= 1 << 15:  # the latter counts film frames
        raise InputUnsupported(f"the MIDI of {source.name} does not count in quarter notes")
    return file


def _tempo_map(file: mido.MidiFile) -> TempoMap:
    changes = []
    for track in file.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo" and message.tempo > 0:
                changes.append((tick, message.tempo))
    return TempoMap(file.ticks_per_beat, changes)


def _conductor(tempo: TempoMap) -> mido.MidiTrack:
    track, before = mido.MidiTrack(), 0
    track.append(mido.MetaMessage("time_signature", numerator=4, denominator=4))
    for tick, microseconds in zip(tempo.ticks, tempo.tempi, strict=True):
        track.append(mido.MetaMessage("set_tempo", tempo=microseconds, time=tick - before))
        before = tick
    return track


def _melodic(n: int) -> int:
    channel = n % 15
    return channel if channel < DRUMS else channel + 1


def _moved(track: mido.MidiTrack, name: str, channel: int, own: TempoMap, common: TempoMap) -> mido.MidiTrack:
    """The track on another tempo map and channel: where each event is in seconds stays what it was."""
    title = name.encode("latin-1", "replace").decode("latin-1")  # what MIDI text is by default
    moved = mido.MidiTrack([mido.MetaMessage("track_name", name=title)])
    tick, before = 0, 0
    for message in track:
        tick += message.time
        if message.is_meta and message.type not in KEPT:
            continue
        now = max(before, common.to_tick(own.to_seconds(tick)))
        changed = {"channel": channel} if hasattr(message, "channel") else {}
        moved.append(message.copy(time=now - before, **changed))
        before = now
    return moved
