"""Which device, and in which precision."""

import pytest
import torch

from neuralib.devices import AUTO, DeviceInfo, choose_precision, find_device
from neuralib.errors import DeviceUnavailable, PrecisionUnsupported

GPU = DeviceInfo("cuda:0", "A GPU", frozenset({"fp32", "tf32", "bf16", "fp16"}))
CPU = DeviceInfo("cpu", "A CPU", frozenset({"fp32"}))


def test_auto_is_the_fastest_that_is_there() -> None:
    found = find_device(AUTO)
    if torch.cuda.is_available():
        assert found.name == "cuda:0"
    elif torch.backends.mps.is_available():
        assert found.name == "mps"
    else:
        assert found.name == "cpu"
    assert found.title
    assert "fp32" in found.precisions


def test_the_cpu_is_always_there() -> None:
    found = find_device("cpu")
    assert found.name == "cpu"
    assert found.precisions <= {"fp32", "bf16"}


@pytest.mark.parametrize("name", ["tpu", "CUDA", "cpu:0", "", "mps:1"])
def test_what_is_no_device_says_what_is(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match="auto, cpu, mps, cuda"):
        find_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "cuda:-1", "cuda:one", "cuda:1.5", "cuda:²"])
def test_a_gpu_that_is_not_there_says_so(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match=name):
        find_device(name)


def test_a_missing_kind_of_gpu_says_so() -> None:
    for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if not there:
            with pytest.raises(DeviceUnavailable, match=name):
                find_device(name)


def test_auto_takes_what_the_model_prefers_of_what_the_device_has() -> None:
    assert choose_precision(AUTO, ("bf16", "fp32"), GPU) == "bf16"
    assert choose_precision(AUTO, ("bf16", "fp32"), CPU) == "fp32"
    assert choose_precision("fp32", ("bf16", "fp32"), GPU) == "fp32"


@pytest.mark.parametrize(
    ("wanted", "offered"), [("fp16", ("fp32",)), ("bf16", ("bf16", "fp32")), (AUTO, ("fp16",))]
)
def test_a_precision_that_does_not_fit_names_those_that_do(wanted, offered) -> None:
    with pytest.raises(PrecisionUnsupported, match="cpu"):
        choose_precision(wanted, offered, CPU)
