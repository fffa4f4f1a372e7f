"""The device has no room: some jobs fit in smaller batches, some do not fit at all, and the next one is fine."""

import json
from pathlib import Path

from faults.ledger import close_the_books
from faults.load import Load
from faults.row import Row, Scale
from faults.site import open_site, session, write_song
from faults.stores import Stores

NAME = "device out of memory"
JOBS, ATTEMPTS = 20, 2
FITS = (4, 2, 1, 0, None)
"""The largest batch that the device holds, job by job; None: it has all the room."""

ENDS = "select params, state, attempt, result, error from jobs"


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    del scale  # it takes seconds
    row = Row(NAME)
    async with open_site(stores, folder, workers=1) as site, session() as http:
        load = Load(site, http)
        await load.prepare(write_song(folder))
        for number in range(JOBS):
            fits = FITS[number % len(FITS)]
            fault = {} if fits is None else {"fault": "memory", "fits": fits}
            params = {"windows": 2, "window_s": 0.02, "salt": number, **fault}
            inputs = [{"asset_id": load.track}]
            order = {"operation": "storm", "inputs": inputs, "params": params, "max_attempts": ATTEMPTS}
            load.accepted.append((await load.insist("POST", "/jobs", 202, json=order))["id"])
        pid = site.workers[0].pid
        hopeless = JOBS // len(FITS)
        await close_the_books(row, site, load, succeed=JOBS - hopeless)
        async with site.sql() as db:
            ends = [{key: _parsed(value) for key, value in end.items()} for end in await db.fetch(ENDS)]
        row.claim(site.workers[0].alive and site.workers[0].pid == pid, "the worker died")
    full = [end for end in ends if end["params"]["fault"] == "memory"]
    failed = [end for end in full if end["params"]["fits"] == 0]
    wrong = [
        end for end in full if end not in failed and end["result"]["facts"]["batch"] != end["params"]["fits"]
    ]
    failed = [end for end in failed if end["attempt"] == ATTEMPTS]
    typed = [end for end in failed if end["error"]["code"] == "out-of-memory" and end["error"]["retryable"]]
    others = [end for end in ends if end not in failed and end["attempt"] != 1]
    row.counts |= {"in smaller batches": len(full) - len(failed), "failed as out-of-memory": len(typed)}
    row.claim(not wrong, f"{len(wrong)} jobs did not run in the batch that fits")
    row.claim(len(typed) == hopeless, f"{hopeless - len(typed)} jobs did not fail as out-of-memory")
    row.claim(not others, f"{len(others)} other jobs lost an attempt")
    return row


def _parsed(value: object) -> object:
    return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
