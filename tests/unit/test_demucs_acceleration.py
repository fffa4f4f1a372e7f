"""The parts we swap give what the stock parts give."""

import copy
import sys
from fractions import Fraction

import pytest
import torch
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from neuralib.executors.demucs.acceleration import accelerate
from neuralib.executors.demucs.attention import Transformer
from neuralib.executors.demucs.layers import CACHE, Taps
from neuralib.executors.demucs.networks import halve, pruned, ready

STEMS = ["drums", "bass", "other", "vocals"]
THIN = {"sources": STEMS, "channels": 4, "dconv_comp": 2}
TRANSFORMER = {**THIN, "bottom_channels": 16, "t_heads": 2, "dconv_mode": 3, "segment": Fraction(1, 2)}
CPU = torch.device("cpu")

NETWORKS = {
    "published": (HTDemucs, TRANSFORMER),
    "no decoder residual": (HTDemucs, {**TRANSFORMER, "dconv_mode": 1}),
    "no transformer": (HTDemucs, {**TRANSFORMER, "t_layers": 0}),
    "cross first, no bottom": (HTDemucs, {**TRANSFORMER, "bottom_channels": 0, "t_cross_first": True}),
    "masks": (HTDemucs, {**TRANSFORMER, "cac": False}),
    "group norms": (HTDemucs, {**TRANSFORMER, "t_group_norm": 1, "t_layer_scale": False}),
    "norms everywhere": (HTDemucs, {**TRANSFORMER, "norm_starts": 0}),
    "hybrid": (HDemucs, {**THIN, "channels": 8}),
    "bands": (HDemucs, {**THIN, "channels": 8, "multi_freqs": [0.25, 0.5]}),
    "one branch": (
        HDemucs,
        {**THIN, "hybrid": False, "depth": 5, "cac": False, "wiener_iters": -1, "end_iters": -1},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The networks are so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stock(name: str) -> torch.nn.Module:
    kind, options = NETWORKS[name]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        made = kind(**options).eval()
        for key, parameter in made.named_parameters():
            if parameter.dim() == 1:  # norms and scales that do something
                torch.nn.init.uniform_(parameter, 0.2, 1.0 if "scale" in key else 1.2)
    return made


def windows(count: int, frames: int = 22_050) -> torch.Tensor:
    return torch.randn(count, 2, frames, generator=torch.Generator().manual_seed(6))


def snr(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float(10 * torch.log10(theirs.double().square().sum() / (ours.double() - theirs).square().sum()))


@pytest.mark.parametrize("name", NETWORKS)
def test_an_accelerated_network_says_what_it_said_before(name):
    made, audio = stock(name), windows(2)
    with torch.inference_mode():
        theirs = made(audio)
        assert snr(accelerate(made, CACHE)(audio), theirs) >= 100


@pytest.mark.parametrize("tile", [1 << 11, 1 << 15, sys.maxsize])
def test_tiles_of_any_size_give_the_same(tile):
    made, audio = stock("published"), windows(3)
    with torch.inference_mode():
        theirs = made(audio)
        assert snr(accelerate(made, tile)(audio), theirs) >= 100


@pytest.mark.parametrize("dilation", [1, 2, 9])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("frames", [1, 2, 7, 50])
def test_a_convolution_by_taps_is_one(kernel, dilation, frames):
    """Also where the kernel reaches beyond both ends."""
    stock = torch.nn.Conv1d(6, 2, kernel, dilation=dilation, padding=kernel // 2 * dilation)
    assert Taps.knows(stock)
    x = torch.randn(3, 6, frames, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(Taps(stock)(x), stock(x), atol=1e-5)


def test_a_convolution_of_another_kind_stays_as_it_is():
    for options in (
        {"stride": 2},
        {"padding": 0},
        {"groups": 2},
        {"bias": False},
        {"padding_mode": "circular"},
    ):
        assert not Taps.knows(torch.nn.Conv1d(6, 2, 3, **{"padding": 1, **options}))


def test_everything_published_models_are_made_of_is_swapped():
    kinds = {type(part).__name__ for part in accelerate(stock("published"), CACHE).modules()}
    assert {"Encoder", "Decoder", "Residual", "Taps", "Upsampling", "Transformer"} <= kinds
    assert (
        not {"DConv", "HDecLayer2d", "ConvTranspose1d", "ConvTranspose2d", "CrossTransformerEncoder"} & kinds
    )


def test_windows_of_another_length_get_their_own_positions():
    made = accelerate(stock("published"), CACHE)
    transformer = next(part for part in made.modules() if isinstance(part, Transformer))
    theirs = stock("published").crosstransformer
    with torch.inference_mode():
        for frames in (5, 9):
            x, time = torch.randn(1, 16, 3, frames), torch.randn(1, 16, 4 * frames)
            for ours, stock_says in zip(transformer(x, time), theirs(x, time), strict=True):
                assert snr(ours, stock_says) >= 100


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_says_the_same_of_fewer_stems(name):
    made, audio = stock(name), windows(1)
    with torch.inference_mode():
        theirs = made(audio)[:, [1, 3]]
    assert snr(ready(made, [1, 3], CPU, "fp32")(audio), theirs) >= 100


def test_the_published_networks_do_not_compute_what_nobody_listens_to():
    made, audio = stock("published"), windows(1)
    with torch.inference_mode():
        assert accelerate(pruned(made, [2]), CACHE)(audio).shape[1] == 1


def test_half_precision_stays_close_and_its_statistics_whole():
    made, audio = stock("published"), windows(2)
    with torch.inference_mode():
        theirs = made(audio)
    ours = ready(copy.deepcopy(made), range(4), CPU, "bf16")(audio)
    assert ours.dtype == torch.float32
    assert 30 <= snr(ours, theirs) <= 90


@pytest.mark.parametrize("name", ["published", "one branch"])
def test_weights_stored_in_half_precision_say_what_they_say_when_each_use_turns_them(name):
    made, audio = accelerate(stock(name), CACHE), windows(1)
    before = sum(p.nbytes for p in made.parameters())
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        turned = made(audio)
        halve(made, torch.bfloat16, set())
        assert torch.equal(made(audio), turned)
    assert sum(p.nbytes for p in made.parameters()) < 0.75 * before
