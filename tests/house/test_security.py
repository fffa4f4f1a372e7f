"""Rules of docs/security.md that can be read off the source, and the document itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuralib.api.openapi import describe
from neuralib.api.routes import ROUTES
from neuralib.config import Auth

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
DOCUMENT = (ROOT / "docs/security.md").read_text()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """(dotted name, call) of every call in a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_unpickles() -> None:
    for path in MODULES:
        for name, call in calls(path):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name.endswith("torch.load"):
                assert given.get("weights_only") == "True", f"{path}:{call.lineno}"
            assert given.get("allow_pickle") != "True", f"{path}:{call.lineno}"
            assert not re.search(r"(^|\.)(pickle|marshal|shelve|dill|joblib)\.", name), (
                f"{path}:{call.lineno}"
            )


def test_nothing_runs_text_as_code_or_through_a_shell() -> None:
    for path in MODULES:
        for name, call in calls(path):
            assert name not in {"eval", "exec", "os.system", "os.popen"}, f"{path}:{call.lineno}"
            assert not name.endswith("create_subprocess_shell"), f"{path}:{call.lineno}"
            shell = [keyword for keyword in call.keywords if keyword.arg == "shell"]
            assert not shell, f"{path}:{call.lineno}"


def test_no_request_names_a_place_to_read_from_or_to_call() -> None:
    """No imports by URL, no webhooks, no object keys: nothing to forge and nowhere to be sent."""
    document = describe(ROUTES)
    names = {
        p["name"]
        for operations in document["paths"].values()
        for o in operations.values()
        for p in o["parameters"]
    }
    for schema in document["components"]["schemas"].values():
        if schema.get("additionalProperties") is False:  # of a request
            names |= schema.get("properties", {}).keys()
    assert "asset_id" in names
    assert names.isdisjoint(
        {"url", "urls", "uri", "path", "file_path", "object_key", "bucket", "callback", "webhook"}
    )


@pytest.mark.parametrize("mode", Auth.model_fields["mode"].annotation.__args__)
def test_the_document_tells_of_every_mode(mode: str) -> None:
    assert f"`{mode}`" in DOCUMENT


def test_the_document_names_tests_and_settings_that_are_there() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+)`", DOCUMENT):
        assert name in tests or list((ROOT / "tests").rglob(f"{name}.py")), name
    defaults = (ROOT / "configs/default.toml").read_text()
    for table, name in re.findall(r"`(server|auth|oidc|limits|weights)\.(\w+)`", DOCUMENT):
        section = defaults.split(f"\n[{table}]")[1].split("\n[")[0]
        assert re.search(rf"^(# )?{name} =", section, re.MULTILINE), f"{table}.{name}"
