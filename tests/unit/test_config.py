"""Settings come from one file and the environment, and every one of them is documented."""

import re
import tomllib
from pathlib import Path

import pytest

from neuralib.config import Settings, load_settings
from neuralib.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("NEURALIB_CONFIG", "NEURALIB_SERVER_HOST", "NEURALIB_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_default_toml_lists_every_setting_with_its_default():
    text = (ROOT / "configs/default.toml").read_text()
    # A setting without a default stands there as a comment of its own.
    written = tomllib.loads(text)
    for table, model in Settings.model_fields.items():
        defaults = model.default.model_dump()
        section = text.split(f"\n[{table}]")[1].split("\n[")[0]
        for name, value in defaults.items():
            if value is None:
                assert re.search(rf"^# {name} =", section, re.MULTILINE), f"{table}.{name} is not documented"
            else:
                assert written[table][name] == value, f"{table}.{name}"
        assert set(written[table]) <= set(defaults)


@pytest.mark.parametrize("name", ["default.toml", "production.toml"])
def test_the_shipped_files_load(name, monkeypatch):
    monkeypatch.setenv("NEURALIB_AUTH_TOKEN", "0123456789abcdef")
    load_settings(ROOT / "configs" / name)


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path, monkeypatch):
    file = tmp_path / "my.toml"
    file.write_text('[server]\nport = 1\nheartbeat_s = 2.0\n[log]\nlevel = "debug"\n')
    monkeypatch.setenv("NEURALIB_SERVER_PORT", "3")
    monkeypatch.setenv("NEURALIB_SERVER_HEARTBEAT_S", "4")
    settings = load_settings(file, server={"port": 5})
    assert (settings.server.port, settings.server.heartbeat_s, settings.log.level) == (5, 4.0, "debug")


def test_an_open_address_without_auth_is_refused():
    with pytest.raises(ConfigurationError, match=r"auth\.mode"):
        load_settings(server={"host": "0.0.0.0"})


def test_a_short_token_is_refused(monkeypatch):
    monkeypatch.setenv("NEURALIB_AUTH_TOKEN", "short")
    with pytest.raises(ConfigurationError, match="16 characters"):
        load_settings(auth={"mode": "token"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[server]\nprt = 1\n", "server.prt"),
        ("[server\n", "my.toml"),
        ("[worker]\nslots = 0\n", "worker.slots"),
        ("[weather]\nsunny = true\n", "weather"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_place(tmp_path, content, message):
    file = tmp_path / "my.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings(file)
    assert "\n" not in caught.value.detail


def test_a_missing_file_is_said():
    with pytest.raises(ConfigurationError, match="no such configuration"):
        load_settings(Path("nowhere.toml"))


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("NEURALIB_DATABASE_URL", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEURALIB_REDIS_URL", "gopher://:{}@h"),
        ("NEURALIB_REDIS_URL", "redis://:{}@h:port"),
        ("NEURALIB_REDIS_URL", "redis://:{}/@h"),
        ("NEURALIB_REDIS_URL", "redis://:{}@[::1"),
        ("NEURALIB_AUTH_TOKEN_TYPO", "{}"),
        ("NEURALIB_OIDC_ALGORITHMS", "{}"),
        ("NEURALIB_OIDC_ALGORITHMS", '["{}"]'),
        ("NEURALIB_STORAGE_KIND", "{}"),
        ("NEURALIB_SERVER_ORIGINS", '{{"a": "{}"}}'),
    ],
)
def test_what_is_wrong_is_said_without_its_value(monkeypatch, name, value):
    monkeypatch.setenv(name, value.format("planted-0008"))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "planted-0008" not in caught.value.detail


def test_no_secret_shows_in_any_dump(monkeypatch):
    planted = {}
    for table, field in Settings.model_fields.items():
        for name, of in type(field.default).model_fields.items():
            if "Secret" in str(of.annotation):
                planted[f"NEURALIB_{table}_{name}".upper()] = f"redis://:planted-{table}-{name}-secret@h"
    assert len(planted) == 5
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(auth={"mode": "token"})
    for dump in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "planted" not in dump
