"""Guards for music, on top of openai's rules. Each can be switched off and counts how often it acted."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """How often each guard acted."""

    silent_windows: int = 0
    silent_segments: int = 0
    repeated_segments: int = 0


@dataclass(slots=True)
class Repeats:
    """Stops a line that comes again and again. A chorus may repeat one; a model that loops does it without end."""

    limit: int | None
    """How often the same line may come in a row; None lets everything pass."""
    _line: str = field(default="", init=False)
    _count: int = field(default=0, init=False)

    def admit(self, text: str) -> bool:
        """Whether this line may stay. Lines are the same when they differ in case and punctuation only."""
        line = "".join(c for c in text.casefold() if c.isalnum() or c == " ").strip()
        self._count = self._count + 1 if line == self._line else 1
        self._line = line
        return self.limit is None or self._count <= self.limit
