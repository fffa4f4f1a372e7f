"""scripts/audit --advisories: what a local copy of an advisory database knows against what is installed."""

import importlib.util
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from packaging.version import Version

SCRIPT = Path(__file__).parents[2] / "scripts" / "advisories.py"


@pytest.fixture(scope="module")
def advisories() -> ModuleType:
    spec = importlib.util.spec_from_file_location("advisories", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["advisories"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def affected(
    *events: dict[str, str], versions: tuple[str, ...] = (), name: str = "aiohttp"
) -> dict[str, Any]:
    return {
        "package": {"ecosystem": "PyPI", "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        "versions": list(versions),
    }


@pytest.mark.parametrize(
    ("version", "events", "hit"),
    [
        ("1.9", [{"introduced": "0"}, {"fixed": "2.0"}], True),
        ("2.0", [{"introduced": "0"}, {"fixed": "2.0"}], False),
        ("2.0+cpu", [{"introduced": "0"}, {"fixed": "2.0.1"}], True),
        ("2.0rc1", [{"introduced": "0"}, {"fixed": "2.0"}], True),
        ("10.0", [{"introduced": "9.0"}, {"last_affected": "10.0"}], True),
        ("10.0.1", [{"introduced": "9.0"}, {"last_affected": "10.0"}], False),
        ("3.0", [{"introduced": "1.0"}, {"fixed": "2.0"}, {"introduced": "2.5"}], True),
        ("2.1", [{"introduced": "1.0"}, {"fixed": "2.0"}, {"introduced": "2.5"}], False),
        ("0.5", [{"introduced": "1.0"}], False),
    ],
)
def test_a_range_holds_what_osv_says(advisories: ModuleType, version: str, events: list, hit: bool) -> None:
    assert advisories.is_affected(Version(version), affected(*events)) is hit


def test_a_version_that_is_named_is_affected(advisories: ModuleType) -> None:
    assert advisories.is_affected(Version("2.0"), affected(versions=("1.0", "2.0")))


def write(folder: Path, modified: datetime, **of: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    advisory = {"id": "PYSEC-1", "aliases": ["CVE-1"], "modified": modified.isoformat(), **of}
    (folder / f"{len([*folder.iterdir()])}.yaml").write_text(json.dumps(advisory))  # JSON is YAML too


def audit(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, SCRIPT, folder], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_finding_names_the_advisory_and_the_mend(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    write(
        tmp_path / "vulns/aiohttp",
        now,
        affected=[affected({"introduced": "0"}, {"fixed": "99.0"}, name="AioHTTP")],
    )
    write(
        tmp_path / "vulns/torch",
        now,
        withdrawn=str(now),
        affected=[affected({"introduced": "0"}, name="torch")],
    )
    got = audit(tmp_path)
    assert got.returncode == 1
    assert f"aiohttp {aiohttp.__version__}: PYSEC-1 = CVE-1 (mended in 99.0)" in got.stdout
    assert "torch" not in got.stdout


def test_nothing_known_is_success(tmp_path: Path) -> None:
    write(tmp_path, datetime.now(UTC), affected=[affected({"introduced": "0"}, {"fixed": "0.1"})])
    got = audit(tmp_path)
    assert (got.returncode, got.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["empty", "old", "broken"])
def test_a_copy_that_cannot_tell_is_no_success(tmp_path: Path, kind: str) -> None:
    if kind == "old":
        write(
            tmp_path,
            datetime(2021, 7, 17, tzinfo=UTC),
            affected=[affected({"introduced": "0"}, {"fixed": "0.1"})],
        )
    if kind == "broken":
        (tmp_path / "PYSEC-2.yaml").write_text("{")
    assert audit(tmp_path).returncode == 2
