"""Where checkpoints come from: an explicit path, the cache, a wheel, the package itself, a hub.

Every resolution ends in `Weights`: files, one digest, a licence and the source they came from, all of which travel
into the job, the manifest and the API. Nothing here unpickles anything; executors load tensors.
"""

from .resolver import AUTO, Checkpoint, Resolver, Standing, Weights
from .sources import Bundled, File, Hub, Source, Untrained, Wheel

__all__ = [
    "AUTO",
    "Bundled",
    "Checkpoint",
    "File",
    "Hub",
    "Resolver",
    "Source",
    "Standing",
    "Untrained",
    "Weights",
    "Wheel",
]
