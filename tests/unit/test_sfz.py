"""Sampler kits: which hit lies on which key."""

import re

import pytest

from neuralib.archives.sfz import Sample, is_playable, kit, safe_file


def read(text: bytes) -> list[dict[str, str]]:
    """Each region with what its group says, as a player reads it."""
    found, group = [], {}
    for line in text.decode().splitlines():
        opcodes = dict(re.findall(r"(\w+)=(.*?)(?=\s+\w+=|$)", line.partition("//")[0].strip()))
        if line.startswith("<group>"):
            group = {}
        elif line.startswith("<region>"):
            found.append({**group, **opcodes})
        else:
            group.update(opcodes)
    return found


def test_classes_lie_on_the_keys_of_general_midi_drums() -> None:
    labels = ["snare", "kick", "hat", "clap", "tom", "cymbal", "percussion", "vocal chop", "tonal_one_shot"]
    regions = read(kit("Kit", [Sample(f"samples/{label}.wav", label) for label in labels]))
    keys = {
        region["sample"].removeprefix("samples/").removesuffix(".wav"): int(region["key"])
        for region in regions
    }
    known = {"kick": 36, "snare": 38, "clap": 39, "hat": 42, "tom": 45, "cymbal": 49, "percussion": 54}
    assert {label: keys[label] for label in known} == known
    assert len(set(keys.values())) == len(labels)


def test_hits_of_a_group_take_turns_and_other_hits_get_keys_of_their_own() -> None:
    samples = [
        *(Sample(f"a{n}.wav", "snare", "a") for n in range(3)),
        Sample("b.wav", "snare", "b"),
        Sample("c.wav", "snare"),
        Sample("d.wav", "snare"),
    ]
    regions = {region["sample"]: region for region in read(kit("Kit", samples))}
    turns = [(regions[f"a{n}.wav"][name]) for n in range(3) for name in ("key", "seq_length", "seq_position")]
    assert turns == ["38", "3", "1", "38", "3", "2", "38", "3", "3"]
    assert [regions[name]["key"] for name in ("b.wav", "c.wav")] == ["40", "37"]
    assert len({region["key"] for region in regions.values()}) == 4


def test_groups_of_two_classes_do_not_mix() -> None:
    regions = read(kit("Kit", [Sample("a.wav", "kick", "1"), Sample("b.wav", "snare", "1")]))
    assert [region["key"] for region in regions] == ["36", "38"]


def test_a_hi_hat_is_cut_by_the_next() -> None:
    [hat, kick] = sorted(
        read(kit("Kit", [Sample("k", "kick"), Sample("h", "hat")])), key=lambda r: r["sample"]
    )
    assert (hat["group"], hat["off_by"]) == ("1", "1")
    assert "off_by" not in kick


def test_loops_are_no_one_shots() -> None:
    assert [is_playable(label) for label in ("loop", " Loop", "kick", "vocal chop")] == [
        False,
        False,
        True,
        True,
    ]


def test_more_hits_than_keys_are_all_in_the_kit() -> None:
    regions = read(kit("Kit", [Sample(f"{n}.wav", "percussion") for n in range(300)]))
    assert sorted(int(region["sample"].removesuffix(".wav")) for region in regions) == list(range(300))
    assert all(0 <= int(region["key"]) <= 127 for region in regions)


@pytest.mark.parametrize("name", ["key=36 kick", "$kick", "#define", "a//b"])
def test_no_name_is_taken_for_an_opcode(name: str) -> None:
    file = f"samples/{safe_file(name)}.wav"
    [region] = read(kit('A "kit"\n<region> // = x', [Sample(file, "kick")]))
    assert region == {"key": "36", "seq_length": "1", "seq_position": "1", "sample": file}
