"""compose.yaml is what it says. No Docker engine is needed: the file is held to the Compose schema and to our rules."""

import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from neuralib.api.health import NEEDLESS
from neuralib.executors.registry import load_registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_it_follows_the_compose_schema(compose):
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.Draft7Validator(json.loads(schema.read_text())).validate(compose)


def test_no_image_floats(compose):
    for name, service in compose["services"].items():
        assert re.search(r":\d", service["image"]), f"{name}: {service['image']} names no version"


def test_there_is_a_worker_per_model_on_cpu_and_on_gpu(compose):
    services = compose["services"]
    for model in ("demucs", "basic-pitch", "whisper"):
        assert services[model]["command"] == ["worker", "--model", model]
        assert services[model]["build"]["target"] == "cpu"
        gpu = services[f"{model}-gpu"]
        assert gpu["profiles"] == ["gpu"]
        assert gpu["build"]["target"] == "cuda"
        assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_whatever_is_built_in_has_a_worker(compose):
    commands = [s.get("command", []) for s in compose["services"].values()]
    served = {word for command in commands if command[0:1] == ["worker"] for word in command[1:]}
    assert served >= set(load_registry().names) - NEEDLESS


def test_only_the_api_is_published(compose):
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["api"]


def test_our_containers_have_no_privileges(compose):
    for name, service in compose["services"].items():
        if "build" in service:
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["read_only"] is True, name
    assert "USER neuralib" in (ROOT / "Dockerfile").read_text()


def test_every_variable_is_in_the_template(compose):
    text = (ROOT / "compose.yaml").read_text()
    template = (ROOT / "configs/compose.env").read_text()
    for name in set(re.findall(r"\$\{(\w+)", text)):
        assert re.search(rf"^(# )?{name}=", template, re.MULTILINE), f"{name} is not in configs/compose.env"


def test_the_dockerfile_has_the_targets_compose_builds(compose):
    stages = set(re.findall(r"^FROM .* AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {s["build"]["target"] for s in compose["services"].values() if "build" in s} <= stages
