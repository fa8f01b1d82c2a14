"""Quick gradients of depthwise convolutions on a CPU that trains in bfloat16."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

LARGE = 5  # side of the kernels whose gradients are slow in bfloat16


def quick_gradients(image: Tensor) -> AbstractContextManager[Any]:
    """A context for the forward pass of a training step; without effect elsewhere than on a CPU in bfloat16.

    oneDNN computes the gradients of depthwise convolutions with large kernels or strides in bfloat16 up to twenty times
    as slowly as in float32: more than half of a training step of EfficientNet-Lite0. So these gradients are computed in
    float32.
    """
    mixed = image.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    return _QuickGradients() if mixed else nullcontext()


class _QuickGradients(TorchFunctionMode):
    """Sends depthwise convolutions that are slow in bfloat16 to `_Depthwise`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == 7 and not isinstance(args[4], str):
            image, weight, bias, stride, padding, dilation, groups = args
            pairs = [(one, one) if isinstance(one, int) else tuple(one) for one in (stride, padding, dilation)]
            if _is_slow(weight, pairs[0], groups):
                return _Depthwise.apply(image, weight, bias, *pairs, groups)
        return func(*args, **(kwargs or {}))


def _is_slow(weight: Tensor, stride: Sequence[int], groups: int) -> bool:
    depthwise = 1 < groups == weight.shape[0] and weight.shape[1] == 1
    return depthwise and (max(weight.shape[2:]) >= LARGE or max(stride) > 1)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution in bfloat16 whose gradients are computed in float32."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        image = image.to(torch.bfloat16)
        ctx.save_for_backward(image, weight)
        ctx.how, ctx.has_bias = how, bias is not None
        with torch.autocast("cpu", enabled=False):
            return torch.conv2d(image, weight.bfloat16(), None if bias is None else bias.bfloat16(), *how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        image, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.how
        sizes, wanted = ([len(weight)] if ctx.has_bias else None), [*ctx.needs_input_grad[:2], ctx.has_bias]
        of_image, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradients[0].float(), image.float(), weight.float(), sizes, stride, padding, dilation, False, [0, 0],
            groups, wanted,
        )  # fmt: skip
        return of_image.bfloat16() if of_image is not None else None, of_weight, of_bias, None, None, None, None
