"""Look up what is installed here in a local copy of an advisory database: for machines that reach no advisory service.

    scripts/audit --advisories FOLDER

FOLDER holds advisories in the OSV format, one a file at any depth: a checkout of the PyPA advisory database (YAML), or the
unpacked PyPI export of OSV (JSON). Ends with 0 when nothing is known against what is installed, 1 on a finding, 2 when the
copy is no use: empty, unreadable, or without any advisory of the last 30 days.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

STALE_AFTER = timedelta(days=30)


class Unusable(Exception):
    """The copy of the database cannot answer."""


@dataclass(frozen=True)
class Finding:
    package: str
    version: str
    advisory: str
    mended_in: tuple[str, ...]

    def __str__(self) -> str:
        mend = f"mended in {', '.join(self.mended_in)}" if self.mended_in else "no mended version is named"
        return f"{self.package} {self.version}: {self.advisory} ({mend})"


def installed() -> dict[str, str]:
    """The packages of this environment and their versions, less ourselves."""
    found = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    return {name: version for name, version in sorted(found.items()) if not name.startswith("neuralib")}


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Every advisory that was not withdrawn. Raises Unusable for a file that is none."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".yaml", ".yml", ".json"} or ".git" in path.parts:
            continue
        text = path.read_text()
        try:
            advisory = json.loads(text) if path.suffix == ".json" else yaml.load(text, yaml.CSafeLoader)
        except (ValueError, yaml.YAMLError) as error:
            raise Unusable(f"{path} cannot be read: {error}") from error
        if isinstance(advisory, dict) and "affected" in advisory and not advisory.get("withdrawn"):
            yield advisory


def look_up(packages: dict[str, str], advisories: Iterator[dict[str, Any]]) -> tuple[list[Finding], datetime]:
    """What is known against the packages, and when the newest advisory was written. Raises Unusable when there is none."""
    findings, newest = [], None
    for advisory in advisories:
        at = _instant(advisory["modified"])
        newest = at if newest is None else max(newest, at)
        for affected in advisory["affected"]:
            name = canonicalize_name(affected.get("package", {}).get("name", ""))
            if affected.get("package", {}).get("ecosystem") != "PyPI" or name not in packages:
                continue
            if is_affected(Version(packages[name]), affected):
                findings.append(Finding(name, packages[name], _names(advisory), _mends(affected)))
    if newest is None:
        raise Unusable("it holds no advisory")
    return findings, newest


def is_affected(version: Version, affected: dict[str, Any]) -> bool:
    """As OSV defines it. A local version (2.13.0+cpu) is affected when its public one is."""
    version = Version(version.public)
    if any(_version(each) == version for each in affected.get("versions", ())):
        return True
    ranges = (each for each in affected.get("ranges", ()) if each.get("type") == "ECOSYSTEM")
    return any(_within(version, each["events"]) for each in ranges)


def _within(version: Version, events: list[dict[str, str]]) -> bool:
    inside = False
    for kind, at in sorted(
        ((kind, each) for event in events for kind, each in event.items()), key=lambda e: _version(e[1])
    ):
        match kind:
            case "introduced" if version >= _version(at):
                inside = True
            case "fixed" if version >= _version(at):
                inside = False
            case "last_affected" if version > _version(at):
                inside = False
    return inside


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:  # from before PEP 440: nothing that pip would install today
        return Version("0.dev0")


def _instant(value: str | datetime) -> datetime:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _names(advisory: dict[str, Any]) -> str:
    return " = ".join([advisory["id"], *advisory.get("aliases", ())])


def _mends(affected: dict[str, Any]) -> tuple[str, ...]:
    ranges = [each for each in affected.get("ranges", ()) if each.get("type") == "ECOSYSTEM"]
    return tuple(event["fixed"] for each in ranges for event in each["events"] if "fixed" in event)


def main(folder: Path, now: datetime) -> int:
    packages = installed()
    try:
        findings, newest = look_up(packages, read(folder))
    except Unusable as error:
        print(f"{folder}: {error}", file=sys.stderr)
        return 2
    print(f"{len(packages)} packages looked up; the newest advisory is of {newest:%Y-%m-%d}")
    print(
        "not looked up: what packages carry inside (such as PostgreSQL, FFmpeg and CUDA), and Debian's packages"
    )
    for finding in findings:
        print(finding)
    if now - newest > STALE_AFTER:
        print(f"{folder}: the copy is {(now - newest).days} days old", file=sys.stderr)
        return 1 if findings else 2
    print("nothing is known against them" if not findings else f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder, datetime.now(UTC)))
