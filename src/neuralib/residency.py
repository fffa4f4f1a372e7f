"""How much the models of a process may keep resident together. Who was idle longest makes room."""

from typing import Protocol

import structlog

log = structlog.get_logger(__name__)


class Holder(Protocol):
    """Somebody whose weights lie on the device: a runner."""

    model: str

    @property
    def held(self) -> int:
        """Bytes."""

    @property
    def used_at(self) -> float:
        """When it was last at work; infinity while it is."""

    def give_way(self) -> bool:
        """Unload something, if it is idle; whether it did."""


class Residency:
    """A limit in bytes, counted by the size of the weights' files; None or 0 is no limit."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit or None
        self._holders: list[Holder] = []

    def join(self, holder: Holder) -> None:
        self._holders.append(holder)

    def make_room(self, mine: Holder, size: int) -> bool:
        """Whether `size` more bytes fit beside what is resident, once idle holders other than `mine` have given way.
        The limit is one of comfort: who is alone and still too big loads all the same, and the device has the last word.
        """
        if self._limit is None:
            return True
        while (held := sum(holder.held for holder in self._holders)) + size > self._limit:
            if not self._one_gives_way(mine):
                log.warning("device.over_budget", model=mine.model, held=held, size=size, limit=self._limit)
                return False
        return True

    def drop_idle(self, mine: Holder) -> bool:
        """Have every idle holder but `mine` unload all it has; whether any did."""
        dropped = False
        while self._one_gives_way(mine):
            dropped = True
        return dropped

    def _one_gives_way(self, mine: Holder) -> bool:
        others = [holder for holder in self._holders if holder is not mine and holder.held]
        return any(holder.give_way() for holder in sorted(others, key=lambda holder: holder.used_at))
