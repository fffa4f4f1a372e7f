"""A transcript as files: json, txt, srt, vtt, lrc and enhanced lrc.

SubRip has no standard; blocks of number, times and text, split by a blank line, are what players read. WebVTT:
the W3C's "WebVTT: The Web Video Text Tracks Format". LRC: one `[mm:ss.xx]` a line; the enhanced form puts
`<mm:ss.xx>` before every word and after the last one. An empty transcript gives a valid file of each.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from .transcript import Segment, Transcript, Word


def as_json(transcript: Transcript, facts: Mapping[str, Any]) -> str:
    """Everything: language, segments, words, and the `facts` of the run under their own names."""
    document = {
        "text": transcript.text,
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": round(transcript.duration, 3),
        "segments": [_segment(number, s) for number, s in enumerate(transcript.segments)],
        **facts,
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text.strip(),
        "temperature": segment.temperature,
        "avg_logprob": round(segment.avg_logprob, 4),
        "compression_ratio": round(segment.compression_ratio, 3),
        "no_speech_prob": round(segment.no_speech_prob, 4),
        "words": [_word(word) for word in segment.words],
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "text": word.text.strip(),
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "probability": round(word.probability, 4),
    }


def as_txt(transcript: Transcript) -> str:
    """One segment a line."""
    return "".join(f"{_line(s)}\n" for s in transcript.segments)


def as_srt(transcript: Transcript) -> str:
    return "\n".join(
        f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{_cue(s)}\n"
        for number, s in enumerate(transcript.segments, start=1)
    )


def as_vtt(transcript: Transcript) -> str:
    cues = (
        f"\n{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{_cue_vtt(s)}\n" for s in transcript.segments
    )
    return "WEBVTT\n" + "".join(cues)


def as_lrc(transcript: Transcript) -> str:
    """One line a segment; an empty line ends one that is followed by a rest, so that players clear it."""
    return _lrc(transcript, _line)


def as_enhanced_lrc(transcript: Transcript) -> str:
    """Like `as_lrc`, with the time of every word. Segments without words stay plain lines."""
    return _lrc(transcript, _timed_words)


REST_S = 3.0
"""A gap that a player should show as one."""


def _lrc(transcript: Transcript, line: Callable[[Segment], str]) -> str:
    lines = ["[re:NeuraLib]", f"[length:{_minutes(transcript.duration)}]"]
    if transcript.language:
        lines.insert(0, f"[la:{transcript.language}]")
    for number, segment in enumerate(transcript.segments):
        lines.append(f"[{_minutes(segment.start)}]{line(segment)}")
        after = transcript.segments[number + 1].start if number + 1 < len(transcript.segments) else None
        if after is None or after - segment.end >= REST_S:
            lines.append(f"[{_minutes(segment.end)}]")
    return "\n".join(lines) + "\n"


def _timed_words(segment: Segment) -> str:
    if not segment.words:
        return _line(segment)
    words = "".join(f"<{_minutes(w.start)}>{_flat(w.text)}" for w in segment.words)
    return f"{words} <{_minutes(segment.words[-1].end)}>"


def _line(segment: Segment) -> str:
    return _flat(segment.text).strip()


def _flat(text: str) -> str:
    """No line ends inside a line, and none of the brackets that would start a tag."""
    return text.translate({10: " ", 13: " ", 0x2028: " ", 0x2029: " ", ord("<"): "‹", ord(">"): "›"})


def _cue(segment: Segment) -> str:
    """A cue may hold no blank line and no arrow; a blank cue would swallow the next one."""
    return _line(segment).replace("--›", "→") or "…"


def _cue_vtt(segment: Segment) -> str:
    return _cue(segment).replace("&", "&amp;")


def _clock(seconds: float, mark: str) -> str:
    """hh:mm:ss,mmm"""
    minutes, ms = divmod(round(max(seconds, 0.0) * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{mark}{ms % 1000:03}"


def _minutes(seconds: float) -> str:
    """mm:ss.xx; minutes run past 99 where they must."""
    minutes, hundredths = divmod(round(max(seconds, 0.0) * 100), 6000)
    return f"{minutes:02}:{hundredths // 100:02}.{hundredths % 100:02}"
