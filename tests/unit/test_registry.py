"""Executors are found by entry point, chosen by name or operation, and validated by their own schema."""

from importlib.metadata import EntryPoint

import pytest

from neuralib.errors import UnknownModel, UnknownOperation, ValidationFailed
from neuralib.executors.registry import GROUP, ModelName, checkpoint, load_registry, validate


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def test_the_built_ins_come_through_the_entry_points(registry):
    assert {"demucs", "basic-pitch", "whisper", "echo"} <= set(registry.names)
    assert registry.plugin("demucs").name == "neuralib"


def test_a_model_is_chosen_by_operation_or_by_name(registry):
    assert registry.choose("separate", None)[0].name == "demucs"
    assert registry.choose(None, "whisper")[0].operation == "transcribe"
    executor, weights = registry.choose("separate", "demucs/htdemucs_ft")
    assert (executor.name, weights) == ("demucs", "htdemucs_ft")


def test_unknown_names_say_what_is_known(registry):
    with pytest.raises(UnknownModel, match="demucs"):
        registry.choose(None, "demux")
    with pytest.raises(UnknownOperation, match="separate"):
        registry.choose("seperate", None)
    with pytest.raises(UnknownModel, match="htdemucs"):
        registry.choose(None, "demucs/nope")


def test_a_model_that_does_something_else_is_refused(registry):
    with pytest.raises(ValidationFailed) as caught:
        registry.choose("midi", "demucs")
    assert caught.value.fields[0].pointer == "/model"


def test_neither_operation_nor_model_is_refused(registry):
    with pytest.raises(ValidationFailed):
        registry.choose(None, None)


def test_params_errors_point_at_their_field(registry):
    with pytest.raises(ValidationFailed) as caught:
        validate(registry.get("echo"), {"gain": 7, "loud": True})
    assert {f.pointer for f in caught.value.fields} == {"/params/gain", "/params/loud"}


def test_a_checkpoint_that_is_not_declared_is_unknown(registry):
    with pytest.raises(UnknownModel, match="none"):
        checkpoint(registry.get("echo"), "anything")


def test_a_broken_plug_in_does_not_stop_the_others():
    broken = [
        EntryPoint("gone", "no_such_module_anywhere:Model", GROUP),
        EntryPoint("odd", "neuralib.executors.registry:validate", GROUP),
        EntryPoint("echo", "neuralib.executors.echo:Echo", GROUP),
    ]
    assert load_registry(broken).names == ["echo"]


def test_names_of_models_and_weights_read_and_write_the_same():
    assert str(ModelName.parse("demucs/htdemucs")) == "demucs/htdemucs"
    assert ModelName.parse("whisper") == ModelName("whisper")
