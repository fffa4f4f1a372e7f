"""The keeper: the process that owns the embedded PostgreSQL and Valkey.

It starts both, restarts one that dies, and stops them when its parent is gone, however that went: the pipe on
its standard input is the life line, and the kernel closes it even after SIGKILL. It runs in a session of its
own, so that Ctrl-C in a terminal reaches our parent, which drains first, and not the servers.

It imports the standard library only and runs without site-packages: it is up in some 50 ms. One JSON line
comes in (the plan); JSON lines go out (`ready`, `failed`, `died`, ...). `embedded` is the other side.

Two locks make a data directory safe. `lock` is held by the parent alone: whoever gets it knows that no other
NeuraLib lives here. `run/servers.lock` is inherited by every server process: whoever gets it knows that no
server of an earlier run, orphaned or still going down, has the files open. Valkey itself would not notice.

    __main__.py   the plan in, both servers up, watch, both down
    server.py     one server process: start, watch, stop; postgres.py and valkey.py say what differs
    ground.py     what both stand on: the data directory, the account they run as, the life line
    strays.py     the lock that all servers inherit, and what to do with servers of an earlier run
"""
