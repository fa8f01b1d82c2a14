"""Which parts of a network learn, and at what rate."""

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from segkit.models.encoders import encoder_of

RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # keys of a parameter group


def scale_rates(optimizer: Optimizer, factor: float) -> None:
    """Multiply every rate of the encoder's group, if there is one."""
    for group in optimizer.param_groups:
        if group.get("encoder"):
            group.update({key: group[key] * factor for key in RATES if key in group})


def describe_missing_part(net: nn.Module, part: str) -> str:
    children = ", ".join(name for name, _ in net.named_children())
    return f"{type(net).__name__} has no part called {part!r}, but {children}."


def freeze_modules(net: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Freeze the named modules of a network and return them; ValueError for a name it does not have."""
    known = dict(net.named_modules())
    if (encoder := encoder_of(net)) is not None:
        known["encoder"] = encoder
    if unknown := [name for name in names if not name or name not in known]:
        raise ValueError(f"freeze={list(names)}: {describe_missing_part(net, unknown[0])}")
    modules = [known[name] for name in names]
    for module in modules:
        module.requires_grad_(False).eval()
    return modules
