"""No secret is told: not in a log at its most talkative, not in an answer, not in an error on the command line."""

import re

import aiohttp
import pytest

from acceptance.harness import neuralib, running, write_tones

TOKEN = "planted-shared-token-0001"
WRONG = "planted-wrong-bearer-0002"
QUERY = "planted-query-secret-0003"
COOKIE = "planted-cookie-secret-0004"
BODY = "planted-body-secret-0005"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJwbGFudGVkIjoiMDAwNiJ9.c2VjcmV0LTAwMDY"


async def test_nothing_that_serve_says_holds_a_secret(tmp_path, stores, s3_server):
    passwords = re.findall(r":([^:@/]+)@", f"{stores.database_url} {stores.redis_url}")
    assert len(passwords) == 2
    env = {
        "NEURALIB_AUTH_MODE": "token",
        "NEURALIB_AUTH_TOKEN": TOKEN,
        "NEURALIB_LOG_LEVEL": "debug",
        "NEURALIB_DATABASE_URL": stores.database_url,
        "NEURALIB_REDIS_URL": stores.redis_url,
        "NEURALIB_STORAGE_KIND": "s3",
        "NEURALIB_STORAGE_ENDPOINT": s3_server.endpoint,
        "NEURALIB_STORAGE_BUCKET": "secrets",
        "NEURALIB_STORAGE_ACCESS_KEY": s3_server.access_key,
        "NEURALIB_STORAGE_SECRET_KEY": s3_server.secret_key,
        "NEURALIB_STORAGE_CREATE_BUCKET": "true",
    }
    planted = [
        TOKEN,
        WRONG,
        QUERY,
        COOKIE,
        BODY,
        JWT,
        JWT.rpartition(".")[2],
        s3_server.secret_key,
        *passwords,
    ]
    answers = []
    with running(tmp_path, "serve", "--port", "0", env=env, says=r"is up at http") as server:
        async with aiohttp.ClientSession() as session:

            async def ask(method, path, bearer=TOKEN, **options):
                headers = {"Authorization": f"Bearer {bearer}", **options.pop("headers", {})}
                url = f"{server.url}/api/v1{path}"
                async with session.request(method, url, headers=headers, **options) as reply:
                    body = await reply.text()
                    told = f"{reply.headers} {body}"
                    answers.append(told if path not in {"/keys", "/session"} else "")
                    return reply, body

            for bearer in (TOKEN, WRONG, JWT, f"nlk_{'x' * 43}", "\udcff"):
                await ask("GET", "/libraries", bearer)
            await ask("GET", f"/libraries?token={QUERY}&limit=x{QUERY}")
            await ask("GET", f"/nowhere?ticket={QUERY}")
            await ask("GET", "/libraries", headers={"Cookie": f"neuralib={COOKIE}", "Authorization": ""})
            await ask("POST", "/libraries", json={"name": 7, "password": BODY})
            await ask("POST", "/libraries", data=f'{{"{BODY}', headers={"Content-Type": "application/json"})
            _, key = await ask(
                "POST", "/keys", json={"name": "k", "scopes": ["read", "write", "jobs", "admin"]}
            )
            secret = re.search(r"nlk_[\w-]{43}", key)[0]
            planted.append(secret)
            reply, _ = await ask("POST", "/session", secret)
            planted.append(reply.cookies["neuralib"].value)
            _, library = await ask("POST", "/libraries", secret, json={"name": "x"})
            form = aiohttp.FormData()
            form.add_field("file", write_tones(tmp_path / "a.wav", 1).read_bytes(), filename="a.wav")
            library = re.search(r'"id":"([^"]+)"', library)[1]
            reply, _ = await ask("POST", f"/libraries/{library}/assets", secret, data=form)
            assert reply.status == 201
            await ask("GET", "/me")
            await ask("GET", "/models")
        assert server.stop() == 0
    said = server.log.read_text() + "".join(each.read_text() for each in tmp_path.glob("*.out"))
    assert '"request"' in said
    assert "/api/v1/nowhere" in said
    assert [secret for secret in planted if secret in said] == []
    assert [secret for secret in planted if secret in "".join(answers)] == []


AWAY = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    "env",
    [
        {"NEURALIB_DATABASE_URL": "postgresql://u:{}@127.0.0.1:1/x", "NEURALIB_REDIS_URL": AWAY},
        {"NEURALIB_DATABASE_URL": "postgresql://u:{}/@h/x", "NEURALIB_REDIS_URL": AWAY},
        {"NEURALIB_DATABASE_URL": "postgresql://h/x", "NEURALIB_REDIS_URL": "redis://:{}/@h"},
        {"NEURALIB_AUTH_MODE": "token", "NEURALIB_AUTH_TOKEN": "{}"},
    ],
    ids=["away", "unreadable", "unreadable redis", "short"],
)
def test_a_configuration_that_fails_is_said_without_its_secrets(env):
    planted = "planted-0007"
    filled = {name: value.format(planted) for name, value in env.items()}
    done = neuralib("serve", "-v", env={**filled, "NEURALIB_LOG_LEVEL": "debug"}, timeout=60)
    assert done.returncode in {1, 2}
    assert len(done.stderr.splitlines()) == 1
    assert planted not in done.stdout + done.stderr
