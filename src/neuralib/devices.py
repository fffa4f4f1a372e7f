"""Which device models run on, and in which precision. Always explicit in what is reported."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import DeviceUnavailable, PrecisionUnsupported
from .executors import Precision

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A torch device name, what the hardware calls itself, and the precisions it computes in."""

    name: str
    title: str
    precisions: frozenset[Precision]


def find_device(wanted: str = AUTO) -> DeviceInfo:
    """cuda, then mps, then cpu; or the one that is named. Raises DeviceUnavailable."""
    # Read once, when torch loads OpenMP: threads that wait at a barrier sleep instead of spinning. Where several models
    # share the cores this is five times faster; alone it costs nothing that can be measured.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    if wanted in {AUTO, "cuda"} or wanted.startswith("cuda:"):
        if torch.cuda.is_available():
            number = wanted.partition(":")[2] or "0"
            if not number.isdecimal() or (index := int(number)) >= torch.cuda.device_count():
                raise DeviceUnavailable(
                    f"{wanted}: this machine has {torch.cuda.device_count()} CUDA device(s)"
                )
            title = torch.cuda.get_device_name(index)
            return DeviceInfo(f"cuda:{index}", title, frozenset({"fp32", "tf32", "bf16", "fp16"}))
        if wanted != AUTO:
            raise DeviceUnavailable(f"{wanted}: torch sees no CUDA device")
    if wanted in {AUTO, "mps"}:
        if torch.backends.mps.is_available():
            return DeviceInfo("mps", "Apple GPU", frozenset({"fp32", "fp16"}))
        if wanted != AUTO:
            raise DeviceUnavailable("mps: torch sees no Apple GPU")
    if wanted in {AUTO, "cpu"}:
        # torch asks oneDNN, and oneDNN the processor: without its instructions bf16 is slower than fp32.
        # There is no public question, and a torch without oneDNN knows not even this one.
        mkldnn = torch.ops.mkldnn
        half = hasattr(mkldnn, "_is_mkldnn_bf16_supported") and mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
        title = f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
        return DeviceInfo("cpu", title, frozenset({"fp32", "bf16"} if half else {"fp32"}))
    raise DeviceUnavailable(f"{wanted!r} is no device; use auto, cpu, mps, cuda or cuda:N")


def choose_precision(wanted: str, offered: Sequence[Precision], device: DeviceInfo) -> Precision:
    """What `auto` means: the first precision that the executor offers and the device has. Raises
    PrecisionUnsupported.
    """
    both = [p for p in offered if p in device.precisions]
    for precision in both:
        if wanted in {AUTO, precision}:
            return precision
    raise PrecisionUnsupported(
        f"{wanted} on {device.name}: this model runs there in {', '.join(both) or 'nothing'}"
    )
