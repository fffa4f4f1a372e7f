"""Executors are found through the entry point group "neuralib.executors"; built-ins come through the same door."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import structlog
from pydantic import ValidationError

from neuralib.errors import FieldError, UnknownModel, UnknownOperation, ValidationFailed

from . import Checkpoint, Executor, Params

GROUP = "neuralib.executors"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plugin:
    """The package an executor came from."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ModelName:
    """`demucs` or `demucs/htdemucs_ft`: a model and, when named, its checkpoint."""

    model: str
    checkpoint: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        model, _, checkpoint = text.partition("/")
        return cls(model, checkpoint or None)

    def __str__(self) -> str:
        return f"{self.model}/{self.checkpoint}" if self.checkpoint else self.model


class Registry:
    """The executors that are installed, by name."""

    def __init__(self, executors: Iterable[tuple[type[Executor[Any]], Plugin]]) -> None:
        self._executors = {executor.name: (executor, plugin) for executor, plugin in executors}

    def __iter__(self) -> Iterator[type[Executor[Any]]]:
        return iter(executor for executor, _ in self._executors.values())

    @property
    def names(self) -> list[str]:
        return sorted(self._executors)

    def get(self, model: str) -> type[Executor[Any]]:
        """The executor of a model. Raises UnknownModel."""
        if model not in self._executors:
            detail = f"no model is named {model!r}; installed: {', '.join(self.names)}"
            raise UnknownModel(detail, fields=[FieldError("/model", "unknown", detail)])
        return self._executors[model][0]

    def plugin(self, model: str) -> Plugin:
        return self._executors[model][1]

    def for_operation(self, operation: str) -> type[Executor[Any]]:
        """The first executor, by name, that does an operation; ours before plug-ins. Raises UnknownOperation."""
        ours = sorted(self._executors.values(), key=lambda item: (item[1].name != "neuralib", item[0].name))
        for executor, _ in ours:
            if executor.operation == operation:
                return executor
        known = ", ".join(sorted({e.operation for e, _ in self._executors.values()}))
        detail = f"no installed model does {operation!r}; known operations: {known}"
        raise UnknownOperation(detail, fields=[FieldError("/operation", "unknown", detail)])

    def choose(self, operation: str | None, model: str | None) -> tuple[type[Executor[Any]], str | None]:
        """Executor and checkpoint name of a request that names an operation, a model, or both."""
        if model is None:
            if operation is None:
                raise ValidationFailed(
                    "name an operation or a model",
                    fields=[FieldError("/operation", "missing", "name an operation or a model")],
                )
            return self.for_operation(operation), None
        name = ModelName.parse(model)
        executor = self.get(name.model)
        if operation is not None and executor.operation != operation:
            raise ValidationFailed(
                f"{name.model} does {executor.operation!r}, not {operation!r}",
                fields=[FieldError("/model", "wrong_operation", f"does {executor.operation!r}")],
            )
        if name.checkpoint is not None:
            checkpoint(executor, name.checkpoint)
        return executor, name.checkpoint


def load_registry(entries: Iterable[EntryPoint] | None = None) -> Registry:
    """Every executor that imports. One that does not is logged and left out: a broken plug-in must not stop the
    others.
    """
    found = []
    for entry in sorted(entry_points(group=GROUP) if entries is None else entries, key=lambda e: e.name):
        executor = _load(entry)
        if executor is not None:
            found.append((executor, _plugin(entry)))
    return Registry(found)


def _load(entry: EntryPoint) -> type[Executor[Any]] | None:
    try:
        executor = entry.load()
    except Exception:
        log.exception("executor.broken", entry_point=entry.name, value=entry.value)
        return None
    if not (isinstance(executor, type) and issubclass(executor, Executor)):
        log.error(
            "executor.broken", entry_point=entry.name, value=entry.value, reason="not an Executor class"
        )
        return None
    return executor


def _plugin(entry: EntryPoint) -> Plugin:
    return Plugin(entry.dist.name, entry.dist.version) if entry.dist else Plugin("unknown", "0")


def checkpoint(executor: type[Executor[Any]], name: str) -> Checkpoint:
    """The checkpoint of an executor by its name. Raises UnknownModel."""
    for candidate in executor.checkpoints:
        if candidate.name == name:
            return candidate
    known = ", ".join(c.name for c in executor.checkpoints) or "none"
    detail = f"{executor.name} has no weights named {name!r}; it knows: {known}"
    raise UnknownModel(detail, fields=[FieldError("/model", "unknown", detail)])


def validate(executor: type[Executor[Any]], params: dict[str, Any]) -> Params:
    """Typed params of a request. Raises ValidationFailed naming each field by JSON pointer."""
    try:
        return executor.params.model_validate(params)
    except ValidationError as error:
        fields = [
            FieldError("/params/" + "/".join(str(part) for part in e["loc"]), e["type"], e["msg"])
            for e in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        first = f"{fields[0].pointer}: {fields[0].message}"
        raise ValidationFailed(f"{executor.name} refuses its parameters: {first}", fields=fields) from error
