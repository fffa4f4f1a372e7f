"""`neuralib keys`: the first key comes from the command line, where the database is."""

import re

import pytest

from acceptance.harness import neuralib, running
from neuralib import identity

KEYS = {"NEURALIB_AUTH_MODE": "keys"}


def create(*words, env=None):
    done = neuralib("keys", "create", *words, env=env)
    assert done.returncode == 0, done.stderr
    key, note = done.stdout.strip(), done.stderr
    assert identity.KEY.fullmatch(key)
    return key, re.search(r"key ([0-9a-f-]{36})", note)[1], note


async def test_a_key_made_on_the_command_line_opens_up(tmp_path, data, client):
    key, _, note = create("--name", "first", "--scopes", "read,write", "--data", data)
    assert "of local: read, write, until it is revoked" in note
    with running(
        tmp_path, "up", "--data", data, "--port", "0", "--host", "0.0.0.0", env=KEYS, says=r"is up at http"
    ) as server:
        api = client(server.url.replace("0.0.0.0", "127.0.0.1"))
        assert (await api.json("GET", "/libraries", 401))["code"] == "unauthenticated"
        api.session.headers["Authorization"] = f"Bearer {key}"
        me = await api.json("GET", "/me")
        assert (me["owner"]["subject"], me["access"]["scopes"]) == ("local", ["read", "write"])
        second, second_id, _ = create("--name", "while it runs", "--data", data)
        api.session.headers["Authorization"] = f"Bearer {second}"
        assert (await api.json("GET", "/me"))["access"]["key_id"] == second_id
        assert neuralib("keys", "revoke", second_id, "--data", data).returncode == 0
        assert (await api.json("GET", "/me", 401))["code"] == "unauthenticated"
        assert server.stop() == 0
        assert key not in server.log.read_text()


def test_keys_of_several_owners_are_made_listed_and_revoked(stores):
    env = {"NEURALIB_DATABASE_URL": stores.database_url}
    ours, ours_id, note = create("--name", "ci [bold]", "--owner", "alice", "--expires", "90d", env=env)
    assert "of alice: jobs, read, write, until 20" in note
    theirs, _, _ = create("--name", "other", "--owner", "bob", env=env)
    listed = neuralib("keys", "list", env=env).stdout
    assert "ci [bold]" in listed
    assert "bob" in listed
    assert ours not in listed
    only = neuralib("keys", "list", "--owner", "alice", env=env).stdout
    assert "alice" in only
    assert theirs[: identity.PREFIX] not in only
    unknown = neuralib("keys", "list", "--owner", "nobody-here", env=env)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert neuralib("keys", "revoke", ours_id, env=env).returncode == 0
    again = neuralib("keys", "revoke", ours_id, env=env)
    assert again.returncode == 2
    assert ours_id in again.stderr
    assert ours_id not in neuralib("keys", "list", env=env).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--name", ""],
        ["--name", "x", "--scopes", "root"],
        ["--name", "x", "--expires", "soon"],
        ["--name", "x", "--expires", "2020-01-01"],
        [],
    ],
)
def test_a_key_that_cannot_be_is_a_line_and_exit_code_2(stores, words):
    done = neuralib("keys", "create", *words, env={"NEURALIB_DATABASE_URL": stores.database_url})
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
