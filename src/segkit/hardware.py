"""The machine's hardware: cores, device and native precision."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device(accelerator: str) -> str:
    """The torch device for auto | cpu | gpu."""
    import torch  # only here: `cores` is called without it

    if accelerator not in ("auto", "cpu", "gpu"):
        raise ValueError(f"accelerator={accelerator}: expected auto, cpu or gpu.")
    if accelerator == "gpu" and not torch.accelerator.is_available():
        raise ValueError("accelerator=gpu: this machine has no GPU that PyTorch can use. Say accelerator=cpu.")
    if accelerator == "cpu" or not torch.accelerator.is_available():
        return "cpu"
    return str(torch.accelerator.current_accelerator())


SHORT_PRECISIONS = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}


def precision(config: Mapping[str, Any]) -> str:
    """Lightning's name for a config's precision. auto: mixed bfloat16 if the hardware computes in it (a GPU of compute
    capability 8, a CPU with avx512_bf16 or AMX), else float32."""
    import torch

    setting = str(config["precision"])
    if setting != "auto":
        return SHORT_PRECISIONS.get(setting, setting)
    accelerator = config.get("trainer", {}).get("accelerator", "auto")
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if _has_native_bfloat16("cuda" if on_gpu else "cpu") else "32-true"


def _has_native_bfloat16(device: str) -> bool:
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # unknown to old releases of torch: float32
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def empty_cache() -> None:
    """Give the memory that torch keeps on a GPU back to it."""
    import torch

    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


@contextmanager
def computing(device: "torch.device", precision: str) -> Iterator[None]:
    """Run inference on a device, in bfloat16 if `precision` is bf16-mixed. Autocast then casts trainable weights only
    once, which it does without gradients but not in inference mode."""
    import torch

    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        yield
