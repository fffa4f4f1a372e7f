"""What an executor says it takes is what it gets."""

import pytest

from neuralib.errors import InputUnsupported, ValidationFailed
from neuralib.executors import InputInfo, Takes
from neuralib.executors.inputs import check_inputs

NOTES = Takes("midi", media_types=("audio/midi",))
STEMS = Takes("audio", least=2, most=3)


def audio(name: str | None = None) -> InputInfo:
    return InputInfo("audio", "audio/wav", name)


MIDI = InputInfo("midi", "audio/midi")
TABLE = InputInfo("midi", "application/json")


@pytest.mark.parametrize(
    ("takes", "given"),
    [
        ((Takes("audio"),), [audio()]),
        ((STEMS,), [audio("vocals"), audio("bass"), audio()]),
        ((STEMS, NOTES), [audio(), MIDI, audio()]),
        ((Takes("audio"), Takes("midi", least=0)), [audio()]),
        ((Takes("audio"), Takes("midi")), [audio(), TABLE]),
    ],
)
def test_what_fits_is_taken(takes: tuple[Takes, ...], given: list[InputInfo]) -> None:
    check_inputs("lab", takes, given)


@pytest.mark.parametrize(
    ("takes", "given", "pointers"),
    [
        ((Takes("audio"),), [audio(), audio()], []),
        ((STEMS,), [audio()], []),
        ((STEMS,), [audio()] * 4, []),
        ((Takes("audio"), NOTES), [audio()], []),
        ((Takes("audio"),), [audio(), MIDI], ["/inputs/1/asset_id"]),
        ((Takes("audio"), NOTES), [MIDI, audio()], ["/inputs/0/asset_id"]),
        ((Takes("audio"), NOTES), [audio(), TABLE], ["/inputs/1/asset_id"]),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(
    takes: tuple[Takes, ...], given: list[InputInfo], pointers: list[str]
) -> None:
    with pytest.raises(InputUnsupported, match=r"^lab takes") as refused:
        check_inputs("lab", takes, given)
    assert [each.pointer for each in refused.value.fields] == pointers


def test_two_inputs_have_no_name_in_common() -> None:
    with pytest.raises(ValidationFailed, match="called vocals") as refused:
        check_inputs("lab", (STEMS,), [audio("vocals"), audio(), audio("vocals")])
    assert [each.pointer for each in refused.value.fields] == ["/inputs/2/name"]
