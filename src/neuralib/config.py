"""Settings: configs/*.toml, then NEURALIB_* in the environment; frozen; read once.

`NEURALIB_DATABASE_URL` is `database.url`, `NEURALIB_LIMITS_UPLOAD_BYTES` is `limits.upload_bytes`: the first word
names the table. configs/default.toml lists every setting with its default and is held to this file by a test.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from .entities import Scope
from .errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def is_trusted_url(url: str) -> bool:
    """https; http only on this machine."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in LOOPBACK
    return local or (parts.scheme == "https" and bool(parts.hostname))


def _reads_as_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in {"redis", "rediss", "unix"} and port != 0


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Table):
    """Where the API listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    shutdown_s: Seconds = 5.0
    heartbeat_s: Seconds = 15.0
    origins: list[str] = []

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc.lower()}":
                raise ValueError(f"{origin!r} is no origin such as https://studio.example")
        return origins


class Auth(_Table):
    """Who may call. `none` is one user and binds to loopback only; `keys` asks every request for a key that says whose
    it is; `token` takes one shared secret besides, `oidc` the tokens of an OpenID provider.
    """

    mode: Literal["none", "token", "keys", "oidc"] = "none"
    token: SecretStr | None = None
    session_s: Seconds = 43200.0

    @property
    def pepper(self) -> bytes:
        """What sessions are digested with: they end when the shared token is changed."""
        return self.token.get_secret_value().encode() if self.mode == "token" and self.token else b""

    @model_validator(mode="after")
    def _token_is_given(self) -> Self:
        if self.mode == "token" and (self.token is None or len(self.token.get_secret_value()) < 16):
            raise ValueError('auth.mode = "token" needs auth.token of 16 characters or more')
        return self


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class Oidc(_Table):
    """Whose tokens open the API, with auth.mode "oidc". Only signatures with public keys can be named."""

    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256", "ES256", "EdDSA"]
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    timeout_s: Seconds = 5.0
    default_scopes: list[Scope] = [Scope.READ, Scope.WRITE, Scope.JOBS]
    scopes_claim: str | None = None
    scopes: dict[str, list[Scope]] = Field(default_factory=dict)

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _is_https(cls, url: str | None) -> str | None:
        if url is not None and not is_trusted_url(url):
            raise ValueError("must be an https URL; http only on this machine")
        return url


class Database(_Table):
    """PostgreSQL 15 or newer."""

    url: SecretStr | None = None
    pool: Count = 10
    timeout_s: Seconds = 10.0


class Redis(_Table):
    """Redis 6.2 or newer, or Valkey."""

    url: SecretStr | None = None
    timeout_s: Seconds = 5.0

    @field_validator("url")
    @classmethod
    def _is_readable(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _reads_as_redis(url.get_secret_value()):
            raise ValueError(
                "must be a URL such as redis://:password@host:6379/0, with special characters as %XX"
            )
        return url


class Storage(_Table):
    """Where bytes live: a local folder, or any S3 API."""

    kind: Literal["local", "s3"] = "local"
    path: Path | None = None
    endpoint: str | None = None
    bucket: str = "neuralib"
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    create_bucket: bool = False
    timeout_s: Seconds = 10.0
    public_url: str | None = None
    link_s: Annotated[int, Field(ge=1, le=900)] = 900
    upload_expiry_s: Seconds = 86400.0
    spare_bytes: Annotated[int, Field(ge=0)] = 256 * 1024**2
    trash_days: Annotated[float, Field(ge=0, le=36500)] = 30.0

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc):
            raise ValueError("must be a URL such as https://s3.example")
        return url


class Worker(_Table):
    """How workers take jobs."""

    lease_s: Seconds = 6.0
    poll_s: Seconds = 2.0
    slots: Count = 2
    together: Count = 8
    drain_s: Seconds = 25.0
    max_attempts: Count = 5
    patience_s: Annotated[float, Field(ge=0)] = 300.0
    idle_unload_s: Seconds = 900.0
    scratch: Path | None = None


class Device(_Table):
    """What models run on."""

    name: str = "auto"
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    memory_mib: Annotated[int, Field(ge=0)] = 0


class Weights(_Table):
    """Which checkpoints may run and where they are kept."""

    cache: Path | None = None
    offline: bool = False
    commercial_safe: bool = False
    allow_untrained: bool = False
    mirror: str | None = None
    paths: dict[str, Path] = Field(default_factory=dict)
    default: dict[str, str] = Field(default_factory=dict)

    @field_validator("mirror")
    @classmethod
    def _is_trusted(cls, url: str | None) -> str | None:
        if url is not None and not is_trusted_url(url):
            raise ValueError("must be an https URL; http only on this machine")
        return url


class Ingest(_Table):
    """What happens to uploads by itself."""

    analyze: bool = True


class Limits(_Table):
    """What one request, file or user may ask for."""

    upload_bytes: Count = 8 * 1024**3
    body_bytes: Count = 1024**2
    audio_s: Seconds = 4 * 3600.0
    audio_channels: Count = 8
    decode_s: Seconds = 600.0
    uploads_per_owner: Count = 100
    renders: Count = 1
    renders_waiting: Count = 100
    render_wait_s: Seconds = 10.0
    streams: Count = 2000
    streams_per_owner: Count = 20
    jobs_per_owner: Count = 1000
    jobs_waiting: Count = 100_000
    storage_bytes_per_owner: Annotated[int, Field(ge=0)] = 0
    requests_per_s: Annotated[float, Field(ge=0)] = 50.0
    requests_burst: Count = 250
    idle_connection_s: Seconds = 75.0
    idle_body_s: Seconds = 30.0
    body_bytes_per_s: Annotated[int, Field(ge=0)] = 1024
    idle_read_s: Seconds = 30.0


class Log(_Table):
    """How much is said, and in what shape."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix="NEURALIB_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
    )

    server: Server = Server()
    auth: Auth = Auth()
    oidc: Oidc = Oidc()
    database: Database = Database()
    redis: Redis = Redis()
    storage: Storage = Storage()
    worker: Worker = Worker()
    device: Device = Device()
    weights: Weights = Weights()
    ingest: Ingest = Ingest()
    limits: Limits = Limits()
    log: Log = Log()

    def with_tables(self, **tables: dict[str, Any]) -> "Settings":
        """A copy in which the given keys of the given tables are replaced, validated again."""
        whole = {name: getattr(self, name).model_copy(update=values) for name, values in tables.items()}
        checked = {name: type(table).model_validate(table.model_dump()) for name, table in whole.items()}
        return self.model_copy(update=checked)

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        if self.auth.mode == "oidc" and not (self.oidc.issuer and self.oidc.audience):
            raise ValueError('auth.mode = "oidc" needs oidc.issuer and oidc.audience')
        return self

    @model_validator(mode="after")
    def _open_only_with_auth(self) -> Self:
        if self.auth.mode == "none" and self.server.host not in LOOPBACK:
            raise ValueError(
                f'server.host = {self.server.host!r} is not loopback and auth.mode is "none": '
                'set auth.mode = "keys"'
            )
        return self


def default_data() -> Path:
    """Where `up` keeps its state: /var/lib for root, whose servers run as another account; else the user's own."""
    if os.geteuid() == 0:
        return Path("/var/lib/neuralib")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "neuralib"


def default_cache() -> Path:
    """Where weights are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuralib" / "weights"


def load_settings(config: Path | None = None, **overrides: dict[str, Any]) -> Settings:
    """Read `overrides` (by table), the environment, and the file that `config` or NEURALIB_CONFIG names; the first
    that speaks of a setting wins. Raises ConfigurationError in one line.
    """
    path = config or (Path(named) if (named := os.environ.get("NEURALIB_CONFIG")) else None)
    if path is not None and not path.is_file():
        raise ConfigurationError(f"{path}: there is no such configuration file")

    class Configured(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    given: Any = overrides
    try:
        return Configured(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{where}: {message}" if where else message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, SettingsError) as error:
        raise ConfigurationError(f"{path or 'environment'}: {error}") from error
