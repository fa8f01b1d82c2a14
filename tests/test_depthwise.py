"""Quick gradients of depthwise convolutions."""

import pytest
import torch
from torch import Tensor, nn

from segkit.models import depthwise
from segkit.models.depthwise import quick_gradients


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of the weights whose gradients are computed in float32."""
    shapes = list[torch.Size]()
    forward = depthwise._Depthwise.forward

    def note(ctx: object, image: Tensor, weight: Tensor, bias: Tensor | None, *how: object) -> Tensor:
        shapes.append(weight.shape)
        return forward(ctx, image, weight, bias, *how)

    monkeypatch.setattr(depthwise._Depthwise, "forward", staticmethod(note))
    return shapes


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("side", "stride", "dilation", "padding"), [(5, 1, 1, 2), (5, 2, 1, (2, 1)), (5, 1, 2, 0), (3, 2, 1, 1)]
)
def test_gradients_are_those_of_the_convolution(
    taken: list[torch.Size], bias: bool, side: int, stride: int, dilation: int, padding: int | tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, side, stride, padding, dilation, groups=6, bias=bias)
    image = torch.rand(2, 6, 17, 15, requires_grad=True)
    expected = layer(image)
    weights = torch.rand_like(expected)
    wanted = torch.autograd.grad((expected * weights).sum(), [image, *layer.parameters()])
    with torch.autocast("cpu", torch.bfloat16), quick_gradients(image):
        found = layer(image)
    assert found.dtype == torch.bfloat16
    assert taken == [(6, 1, side, side)]
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)
    given = torch.autograd.grad((found.float() * weights).sum(), [image, *layer.parameters()])
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=0.02 * float(other.abs().max()), rtol=0)


def test_only_slow_depthwise_kernels_of_a_mixed_training_are_taken(taken: list[torch.Size]) -> None:
    image = torch.rand(1, 4, 9, 9)
    plain, small, large = (nn.Conv2d(4, 4, *how) for how in ((5,), (3, 1, 0, 1, 4), (5, 1, 0, 1, 4)))
    with quick_gradients(image):  # in float32
        large(image)
    with torch.autocast("cpu", torch.bfloat16):
        large(image)
        with torch.no_grad(), quick_gradients(image):
            large(image)
        with quick_gradients(image):
            plain(image), small(image)
    assert taken == []
    with torch.autocast("cpu", torch.bfloat16), quick_gradients(image):
        large(image)
    assert taken == [(4, 1, 5, 5)]
