"""Recipes: what makes two jobs the same."""

from pathlib import Path
from typing import Any

import pytest

from neuralib import recipes
from neuralib.config import Settings
from neuralib.executors import Executor, Params, Plan
from neuralib.weights import Checkpoint, Hub


def hub(name: str, sha256: str = "a" * 64) -> Checkpoint:
    source = Hub((f"https://hub.example/{name}.safetensors",), (sha256,), "lab")
    return Checkpoint(name, name, "MIT", commercial_use=True, sources=(source,))


class Lab(Executor[Params]):
    name = "lab"
    title = "Lab"
    operation = "listen"
    params = Params
    checkpoints = (hub("large"), hub("small"))

    @classmethod
    def plan(cls, *_: Any) -> Plan:
        return Plan(1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings().with_tables(weights={"cache": tmp_path})


def digest(settings: Settings, checkpoint: str | None = None, executor: Any = Lab, **more: Any) -> str:
    given = {"sha256": "song", "params": {"gain": 1.0}, "output": {"format": "wav"}, **more}
    return recipes.digest(recipes.ingredients(settings, executor, checkpoint), **given)


def test_every_ingredient_counts_and_the_order_of_names_does_not(settings: Settings) -> None:
    class Newer(Lab):
        version = "2"

    class Other(Lab):
        operation = "sing"

    changed = [
        digest(settings),
        digest(settings, "small"),
        digest(settings, "large"),
        digest(settings, executor=Newer),
        digest(settings, executor=Other),
        digest(settings, sha256="another song"),
        digest(settings, params={"gain": 0.5}),
        digest(settings, output={"format": "flac"}),
        digest(settings, inputs=[("lead", "song")]),
        digest(settings, inputs=[(None, "song"), (None, "words")]),
        digest(settings, inputs=[(None, "song"), ("words", "words")]),
        digest(settings, inputs=[(None, "song"), (None, "other words")]),
        digest(settings, inputs=[(None, "song"), (None, "words"), (None, "other words")]),
        digest(settings, inputs=[(None, "song"), (None, "other words"), (None, "words")]),
    ]
    assert len(set(changed)) == len(changed)
    assert digest(settings, params={"a": 1, "b": 2}) == digest(settings, params={"b": 2, "a": 1})


def test_weights_that_were_pulled_change_what_auto_means_and_nothing_else(
    settings: Settings, tmp_path: Path
) -> None:
    before = digest(settings), digest(settings, "large")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "large.safetensors").touch()
    assert digest(settings) != before[0]
    assert digest(settings, "large") == before[1]


def test_weights_that_are_published_anew_are_others(settings: Settings) -> None:
    class Republished(Lab):
        checkpoints = (hub("large", "b" * 64), hub("small"))

    assert digest(settings, "large", Republished) != digest(settings, "large")
    assert digest(settings, "small", Republished) == digest(settings, "small")


def test_an_operator_s_own_file_that_was_trained_again_is_another(settings: Settings, tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    own = settings.with_tables(weights={"paths": {"lab": mine}})
    digests = {digest(own)}
    for content in (b"once", b"twice"):
        mine.write_bytes(content)
        digests.add(digest(own))
    assert len(digests) == 3
    elsewhere = settings.with_tables(weights={"paths": {"other": mine}})
    assert digest(elsewhere) == digest(settings)


def test_the_default_of_the_configuration_is_as_if_it_were_named(settings: Settings) -> None:
    chosen = settings.with_tables(weights={"default": {"lab": "small"}})
    assert digest(chosen) == digest(settings, "small")
