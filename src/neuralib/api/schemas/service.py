"""The process itself."""

from collections.abc import Mapping
from typing import Literal

from .base import Reply


class Health(Reply):
    status: Literal["ok"]
    version: str


class Readiness(Reply):
    status: Literal["ready"]
    checks: Mapping[str, Literal["ok"]]
