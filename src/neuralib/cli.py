"""The command line: one function per command. An error is one line on standard error; exit code 2 when the caller can
mend it, 1 when not.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from uuid import UUID

from . import __version__, doctor, logs, terminal
from .config import Settings, default_cache, default_data, load_settings
from .db import Database, open_database
from .entities import Scope
from .errors import BadRequest, ConfigurationError, MissingFile, NeuralibError
from .executors.registry import load_registry
from .identity import DEFAULT_SCOPES
from .runner import computing

ALL = ("demucs", "basic-pitch", "whisper")
LEAVE_WITHIN_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. The process ends soon after this returned, also when a model's thread is still
    inside a long window, for which Python would wait: what mattered is committed.
    """
    code = _command(arguments)
    if computing():
        sys.stdout.flush()
        leave = threading.Timer(LEAVE_WITHIN_S, os._exit, [code])
        leave.daemon = True
        leave.start()
    return code


def _command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        logs.configure(
            settings.log.level if options.verbose or options.chatty else "error", settings.log.format
        )
        code: int = options.run(options, settings)
    except BadRequest as error:
        return _complain(error, 2)
    except NeuralibError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    return code


def _complain(error: NeuralibError, code: int) -> int:
    first = " ".join(error.detail.split())
    print(f"neuralib: {first}. {error.mend}", file=sys.stderr)
    return code


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────


def up(options: argparse.Namespace, settings: Settings) -> int:
    from .orchestrator import up as run_up

    data = options.data or default_data()
    return _run(run_up(settings, data, default_cache(), terminal.Greeting(data).show))


def serve(options: argparse.Namespace, settings: Settings) -> int:
    from .orchestrator import serve as run_serve

    del options
    return _run(run_serve(settings, terminal.Greeting(None).show))


def worker(options: argparse.Namespace, settings: Settings) -> int:
    from .orchestrator import work

    models = list(dict.fromkeys(options.model or load_registry().names))
    return _run(work(settings, models, default_cache(), terminal.Greeting(None).show_worker))


def process(options: argparse.Namespace, settings: Settings) -> int:
    if not options.song.is_file():
        raise MissingFile(f"{options.song}: no such file")
    into = options.output or Path(f"{options.song.stem} [neuralib]")
    return _process(options, settings, options.song, into)


def demo(options: argparse.Namespace, settings: Settings) -> int:
    with as_file(files("neuralib") / "demo" / "song.ogg") as song:
        return _process(options, settings, song, options.output or Path("demo [neuralib]"))


def _process(options: argparse.Namespace, settings: Settings, song: Path, into: Path) -> int:
    from .process import Wanted

    models = options.models.split(",") if options.models else list(ALL)
    wanted = Wanted(models, options.format)
    if options.data:
        return _run(_process_song(settings, options.data, song, into, wanted))
    with tempfile.TemporaryDirectory(prefix="neuralib-") as folder:
        # PostgreSQL runs as another account when we are root: it must get through this folder.
        Path(folder).chmod(0o711)
        return _run(_process_song(settings, Path(folder) / "data", song, into, wanted))


async def _process_song(settings: Settings, data: Path, song: Path, into: Path, wanted: Any) -> int:
    from .orchestrator import Signals, embedded, working
    from .process import process as process_song
    from .services import open_services
    from .worker import Worker, make_resolver

    registry = load_registry()
    names = list(dict.fromkeys(registry.choose(None, m)[0].name for m in wanted.models))
    async with (
        Signals() as signals,
        embedded(settings, data) as (whole, _),
        open_services(whole.with_tables(ingest={"analyze": False}), migrating=True) as services,
        working(Worker(services, names, make_resolver(whole, default_cache())), drain_s=0.0) as task,
    ):
        with terminal.Bars() as bars:
            made = asyncio.create_task(process_song(services, song, into, wanted, bars.change))
            await signals.until(made, task)
        if not made.done():
            made.cancel()
            await asyncio.wait([made])
            raise KeyboardInterrupt
    return terminal.summarise(made.result(), into)


def models(options: argparse.Namespace, settings: Settings) -> int:
    from .worker import make_resolver

    resolver = make_resolver(settings, default_cache())
    registry = load_registry()
    if options.action == "list":
        return terminal.list_models(registry, resolver, settings)
    if not options.name:
        raise ConfigurationError(f"`neuralib models {options.action}` needs the name of a model")
    executor, checkpoint = registry.choose(None, options.name)
    weights = resolver.resolve(
        executor.name,
        executor.checkpoints,
        checkpoint or settings.weights.default.get(executor.name, "auto"),
        terminal.bytes_progress,
    )
    print(f"{weights.id}  from {weights.source}  {weights.license}")
    return 0


def migrate(options: argparse.Namespace, settings: Settings) -> int:
    from .db.migrate import migrate as run_migrations

    del options
    url = settings.database.url
    if url is None:
        raise ConfigurationError(
            "NEURALIB_DATABASE_URL must be set here; `neuralib up` migrates its own database"
        )

    async def apply() -> int:
        async with open_database(url.get_secret_value(), size=1, timeout_s=settings.database.timeout_s) as db:
            applied = await run_migrations(db)
        print("\n".join(f"applied {name}" for name in applied) or "nothing to do: the schema is current")
        return 0

    return _run(apply())


def keys(options: argparse.Namespace, settings: Settings) -> int:
    return _run(_keys(options, settings))


async def _keys(options: argparse.Namespace, settings: Settings) -> int:
    from . import identity
    from .libraries import LOCAL_SUBJECT

    async with _database(options, settings) as db:
        if options.action == "revoke":
            await identity.revoke_key(db, options.key, None)
        elif options.action == "list":
            named = await identity.find_owner(db, options.owner, options.issuer) if options.owner else None
            terminal.list_keys(await identity.list_keys(db, named))
        else:
            secret, key = await identity.create_key(
                db,
                await identity.ensure_owner(db, options.owner or LOCAL_SUBJECT, options.issuer),
                name=options.name,
                scopes=options.scopes,
                expires_at=options.expires,
            )
            terminal.show_key(secret, key, options.owner or LOCAL_SUBJECT)
    return 0


@asynccontextmanager
async def _database(options: argparse.Namespace, settings: Settings) -> AsyncIterator[Database]:
    """The external database that the settings name; else the one inside --data, of an `up` that runs or started for
    this.
    """
    from .db.migrate import migrate as run_migrations
    from .db.migrate import require_current
    from .embedded import run_stores, running_database

    data = options.data or default_data()
    async with AsyncExitStack() as stack:
        if settings.database.url is not None and options.data is None:
            url, migrating = settings.database.url.get_secret_value(), False
        elif (running := running_database(data)) is not None:
            url, migrating = running, False
        else:
            url, migrating = (await stack.enter_async_context(run_stores(data))).database_url, True
        db = await stack.enter_async_context(
            open_database(url, size=1, timeout_s=settings.database.timeout_s)
        )
        if migrating:
            await run_migrations(db)
        await require_current(db)
        yield db


def check(options: argparse.Namespace, settings: Settings) -> int:
    findings = asyncio.run(doctor.examine(settings, options.data or default_data(), default_cache()))
    return terminal.report(findings)


def bench(options: argparse.Namespace, settings: Settings) -> int:
    from .bench import compare
    from .worker import make_resolver

    registry, resolver = load_registry(), make_resolver(settings, default_cache())
    names = options.models.split(",") if options.models else list(ALL)
    if options.song is not None and not options.song.is_file():
        raise MissingFile(f"{options.song}: no such file")
    with as_file(files("neuralib") / "demo" / "song.ogg") as demo_song:
        song = options.song or demo_song
        return terminal.show_bench(
            compare(settings, registry, resolver, song, names, options.pairs), options.pairs
        )


# ── the parser ────────────────────────────────────────────────────────────────────────────────────────


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="neuralib",
        description="A song goes in; stems, notes, words and samples come out, kept in a library.",
    )
    parser.add_argument("--version", action="version", version=f"neuralib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, *, chatty: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run, chatty=chatty)
        sub.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; see configs/default.toml")
        sub.add_argument("-v", "--verbose", action="store_true", help="log to standard error")
        return sub

    data = {"type": Path, "metavar": "DIR", "help": f"where everything is kept (default {default_data()})"}
    one = command("process", process, "Separate, transcribe to notes and words, write it all into a folder.")
    one.add_argument("song", type=Path, metavar="SONG")
    for sub in (one, command("demo", demo, "Run `process` on the song that ships with NeuraLib.")):
        sub.add_argument("-o", "--output", type=Path, metavar="DIR", help="the folder to write into")
        sub.add_argument("--models", metavar="A,B", help=f"which models, and weights: {','.join(ALL)}")
        sub.add_argument(
            "--format", choices=("wav", "flac", "mp3", "ogg"), default="wav", help="of the stems"
        )
        sub.add_argument(
            "--data", type=Path, metavar="DIR", help="keep the library there instead of dropping it"
        )
        _device(sub)
    sub = command("up", up, "The API, all workers and embedded stores in one process.", chatty=True)
    sub.add_argument("--data", **data)  # type: ignore[arg-type] # argparse takes any of these
    _address(sub)
    _device(sub)
    _address(command("serve", serve, "The API over external PostgreSQL, Redis and S3.", chatty=True))
    sub = command("worker", worker, "Workers over external PostgreSQL, Redis and S3.", chatty=True)
    sub.add_argument(
        "--model", action="append", metavar="NAME", help="repeat it for several; default: every model"
    )
    _device(sub)
    sub = command("models", models, "Show, fetch or verify weights.")
    sub.add_argument("action", nargs="?", choices=("list", "pull", "verify"), default="list")
    sub.add_argument("name", nargs="?", metavar="MODEL[/WEIGHTS]")
    sub = command(
        "bench", bench, "The models on this machine beside their published packages: speed and gate."
    )
    sub.add_argument("song", type=Path, metavar="SONG", nargs="?", help="default: the song of `demo`")
    sub.add_argument("--models", metavar="A,B", help=f"which models, and weights: {','.join(ALL)}")
    sub.add_argument("--pairs", type=_positive, default=3, help="how often both sides run (default 3)")
    _device(sub)
    command("migrate", migrate, "Bring the schema of an external database up to date.")
    _keys_parser(command("keys", keys, "Make, show or revoke the keys that open the API."), data)
    sub = command("doctor", check, "What works on this machine, and the mend for what does not.")
    sub.add_argument("--data", **data)  # type: ignore[arg-type] # argparse takes any of these
    return parser


def _keys_parser(parser: argparse.ArgumentParser, data: dict[str, Any]) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    create = actions.add_parser("create", help="make a key; it is printed this once")
    create.add_argument("--name", required=True, type=_name, help="what it is for")
    create.add_argument(
        "--scopes",
        type=_scopes,
        default=frozenset(DEFAULT_SCOPES),
        metavar="A,B",
        help=f"of {','.join(Scope)} (default {','.join(DEFAULT_SCOPES)})",
    )
    create.add_argument(
        "--expires",
        type=_expiry,
        metavar="WHEN",
        help="90d, 12h or a date such as 2030-01-31 (default never)",
    )
    listing = actions.add_parser("list", help="all keys, without their secrets")
    revoke = actions.add_parser("revoke", help="a key opens nothing any more")
    revoke.add_argument("key", type=UUID, metavar="ID")
    for sub in (create, listing):
        sub.add_argument(
            "--owner", type=_name, metavar="NAME", help="whose (default: create local, list all)"
        )
        sub.add_argument(
            "--issuer",
            default="",
            metavar="URL",
            help="who calls the owner so, when it is not this installation",
        )
    for sub in (create, listing, revoke):
        sub.add_argument("--data", **data)


def _name(text: str) -> str:
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise argparse.ArgumentTypeError("must be 1 to 200 printable characters")
    return text.strip()


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"scopes are {', '.join(Scope)}") from error


def _expiry(text: str) -> datetime:
    if found := re.fullmatch(r"([1-9]\d{0,4})([dh])", text):
        return datetime.now(UTC) + timedelta(**{{"d": "days", "h": "hours"}[found[2]]: int(found[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError("say 90d, 12h or a date such as 2030-01-31") from error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8080; 0 picks one)")


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="auto, cpu, mps, cuda, cuda:1 (default auto)")
    parser.add_argument("--precision", help="auto, fp32, tf32, bf16, fp16 (default auto)")
    parser.add_argument(
        "--allow-untrained",
        action="store_true",
        default=None,
        help="let random weights run where there are no others",
    )


def _settings(options: argparse.Namespace) -> Settings:
    """The file and the environment, and what the command line says on top."""
    said = {
        "server": {"host": getattr(options, "host", None), "port": getattr(options, "port", None)},
        "device": {
            "name": getattr(options, "device", None),
            "precision": getattr(options, "precision", None),
        },
        "weights": {"allow_untrained": getattr(options, "allow_untrained", None)},
    }
    given = {table: {k: v for k, v in values.items() if v is not None} for table, values in said.items()}
    return load_settings(options.config, **{table: values for table, values in given.items() if values})


def _run(coroutine: Coroutine[Any, Any, Any]) -> int:
    code = asyncio.run(coroutine)
    return int(code or 0)
