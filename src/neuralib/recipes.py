"""What determines the outcome of a job, as one digest: two jobs with the same recipe make the same things."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import Settings, default_cache
from .executors import Executor
from .weights import AUTO, Checkpoint


def ingredients(settings: Settings, executor: type[Executor[Any]], checkpoint: str | None) -> dict[str, Any]:
    """What a recipe has of the model: operation, name, version, weights. Known before there is an input."""
    return {
        "operation": executor.operation,
        "model": executor.name,
        "version": executor.version,
        "weights": _weights(settings, executor, checkpoint),
    }


def digest(
    model: Mapping[str, Any],
    *,
    sha256: str,
    params: Mapping[str, Any],
    output: Mapping[str, Any],
    inputs: Sequence[tuple[str | None, str]] = (),
) -> str:
    """The SHA-256 of input bytes, `ingredients`, params and output choices. `params` carry their defaults, so that
    naming one and leaving it out are the same. `inputs`: the name and the SHA-256 of each in their order, when there are
    several or the only one has a name; `sha256` is the first one's.
    """
    recipe = {**model, "input": sha256, "params": params, "output": output}
    if inputs:
        recipe["inputs"] = inputs
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _weights(settings: Settings, executor: type[Executor[Any]], checkpoint: str | None) -> dict[str, Any]:
    """What can be known of the weights before a worker resolves them. Which ones `auto` takes depends on what lies
    on the machine and on the rules, so both count: after a pull the same request is another computation.
    """
    weights = settings.weights
    wanted = checkpoint or weights.default.get(executor.name, AUTO)
    files = {
        name: _file(path) for name, path in weights.paths.items() if name.partition("/")[0] == executor.name
    }
    if wanted != AUTO:
        pins = [_pins(each) for each in executor.checkpoints if each.name == wanted]
        return {"wanted": wanted, "pins": pins, "files": files}
    cache = weights.cache or default_cache()
    choice = [[c.name, _pins(c), [s.local(cache) for s in c.sources]] for c in executor.checkpoints]
    rules = [weights.offline, weights.commercial_safe, weights.allow_untrained]
    return {"wanted": wanted, "choice": choice, "rules": rules, "files": files}


def _pins(checkpoint: Checkpoint) -> list[list[str | None]]:
    return [list(source.pins) for source in checkpoint.sources]


def _file(path: Path) -> list[Any]:
    """An operator's own checkpoint, which is trained again under the same name. The worker's machine may have it
    and this one not.
    """
    try:
        stat = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), stat.st_size, stat.st_mtime_ns]
