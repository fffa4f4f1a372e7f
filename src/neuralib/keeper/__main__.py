"""The plan in, both servers up, watch, both down."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuralib.keeper.ground import Ground, create, sync_folder
from neuralib.keeper.postgres import Postgres
from neuralib.keeper.server import Server
from neuralib.keeper.strays import Abandoned, Failed
from neuralib.keeper.valkey import Valkey

RESTARTS = 5  # deaths of one server in a minute before we give up


def report(event: str, **facts: Any) -> None:
    """Tell the parent; if it is gone, nobody needs to know."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")


def read_secrets(path: Path) -> tuple[dict[str, str], bool]:
    """The passwords of this data directory, and whether they were made just now."""
    if path.exists():
        known: dict[str, str] = json.loads(path.read_text())
        return known, False
    made = {name: os.urandom(24).hex() for name in ("postgres", "valkey")}
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with create(draft) as file:
        json.dump(made, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)
    return made, True


def begin_together(ground: Ground, servers: Sequence[Server]) -> None:
    """Start all servers at once; the first that fails stops the others and is the reason given."""
    failures: list[Exception] = []

    def begin(server: Server) -> None:
        try:
            server.begin()
        except (Failed, Abandoned, OSError) as failure:
            failures.append(failure)
            ground.giving_up.set()

    threads = [threading.Thread(target=begin, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def watch(ground: Ground, servers: Sequence[Server]) -> None:
    """Until the parent goes: restart a server that died, on the port it had."""
    while not ground.abandoned(wait=0.25):
        for server in servers:
            server.trim_log()
            if server.process is None or server.process.poll() is None:
                continue
            now = time.monotonic()
            server.deaths = [at for at in server.deaths if now - at < 60] + [now]
            if len(server.deaths) > RESTARTS:
                raise Failed(f"{server.name} died {len(server.deaths)} times in a minute (log: {server.log})")
            report("died", server=server.name, exit=server.process.returncode, log=str(server.log))
            if ground.abandoned(wait=0.2 * (len(server.deaths) - 1)):
                return
            with contextlib.suppress(Failed):  # then it is dead again at the next look
                server.launch()
                report("restarted", server=server.name)


def keep(plan: dict[str, Any]) -> None:
    """Run both servers until the parent goes. Raises Failed when they cannot run."""
    data = Path(plan["data"])
    owner = None if plan["owner"] is None else (plan["owner"][0], plan["owner"][1])
    ground = Ground(data, owner, plan["parent"])
    if ground.open_way():
        report("data directory opened for search", account=owner)
    secrets, new = read_secrets(data / "secrets")
    postgres = Postgres(
        ground, secrets["postgres"], server=Path(plan["postgres"]), major=plan["major"], new_password=new
    )
    valkey = Valkey(ground, secrets["valkey"], server=Path(plan["valkey"]))
    servers = (postgres, valkey)
    try:
        begin_together(ground, servers)
        report("ready", database_url=postgres.url(), redis_url=valkey.url())
        watch(ground, servers)
    finally:
        for server in servers:
            server.ask_to_stop()
        for server in servers:
            server.wait_stopped()


def main() -> int:
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler, not SIG_IGN: the servers would inherit that. We go when the parent goes.
        signal.signal(number, lambda *_: None)
    try:
        keep(json.loads(sys.stdin.buffer.readline()))
    except Abandoned:
        return 0
    except Failed as failed:
        report("failed", code=failed.code, detail=str(failed))
        return 1
    except OSError as error:
        report("failed", code="store-start-failed", detail=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
