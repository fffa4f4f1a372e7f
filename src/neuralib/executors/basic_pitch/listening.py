"""The loaded network at work on a stream of windows.

A CPU gets one single-threaded worker a core, each with its own windows. Threads inside every operation would meet a
hundred times a window, and on a machine that does anything else besides, waiting there costs more than the work.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import torch

from neuralib.errors import OutOfMemory

from .graph import Array
from .model import load

WINDOWS_PER_BATCH_CPU = 4
WINDOWS_PER_BATCH_ELSEWHERE = 64
START_TIMEOUT_S = 60.0

Posteriorgrams = tuple[Array, Array, Array]
"""Note, onset and contour, frame after frame: `(142 n, 88)` twice and `(142 n, 264)`."""


class Listener:
    """One network on one device. Raises ModelLoadFailed."""

    def __init__(self, path: Path, device: str) -> None:
        self._device = torch.device(device)
        self._network = load(path, device)
        on_cpu = self._device.type == "cpu"
        self.windows_per_batch = WINDOWS_PER_BATCH_CPU if on_cpu else WINDOWS_PER_BATCH_ELSEWHERE
        self._threads = torch.get_num_threads()
        self._workers = _single_threaded(self._threads) if on_cpu else None

    def posteriorgrams(self, batches: Iterable[Array]) -> Iterator[Posteriorgrams]:
        """Those of each batch of `(n, 43844)` windows, in order. Raises OutOfMemory."""
        if self._workers is None:
            yield from map(self._hear, batches)
            return
        running: deque[Future[Posteriorgrams]] = deque()
        try:
            for batch in batches:
                running.append(self._workers.submit(self._hear, batch))
                if len(running) > self._threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()

    def close(self) -> None:
        """End the workers; whatever they are at is finished first."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)

    def _hear(self, windows: Array) -> Posteriorgrams:
        """Halves the batch when the device's memory does not hold it."""
        try:
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                parts = self._network(torch.from_numpy(windows).to(self._device))
                note, onset, contour = (part.flatten(0, 1).cpu().numpy() for part in parts)
        except torch.OutOfMemoryError as error:
            if len(windows) == 1:
                raise OutOfMemory(f"{self._device} cannot hold one window of two seconds") from error
        else:
            return note, onset, contour
        halves = [self._hear(half) for half in np.array_split(windows, 2)]
        note, onset, contour = (np.concatenate(parts) for parts in zip(*halves, strict=True))
        return note, onset, contour


def _single_threaded(workers: int) -> ThreadPoolExecutor:
    """So many workers whose torch operations each use one thread. All start here, because the setting of one
    thread is what torch gives to every thread that is new: the caller's own is put back at the end.
    """
    mine = torch.get_num_threads()
    everyone = Barrier(workers + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        everyone.wait(START_TIMEOUT_S)

    pool = ThreadPoolExecutor(workers, "basic-pitch", begin)
    for _ in range(workers):
        pool.submit(int)
    everyone.wait(START_TIMEOUT_S)
    torch.set_num_threads(mine)
    return pool
