"""Which axes are which behind torch's operators: what works on each element, and what moves it."""

from __future__ import annotations

import inspect

import pytest

from xplain.core.positions import axes as ax

torch = pytest.importorskip("torch")
nn, fn = torch.nn, torch.nn.functional
follow = pytest.importorskip("xplain.models.torch.follow")

_CLASSES = vars(nn.modules.activation).values()
ACTIVATIONS = [one for one in _CLASSES if inspect.isclass(one) and issubclass(one, nn.Module) and one is not nn.Module]
OTHERS = ("MultiheadAttention", "GLU", "NonDynamicallyQuantizableLinear")
ACTIVATIONS = [one for one in ACTIVATIONS if one.__name__ not in OTHERS]
KEEPS = {
    "1 - x": lambda x: 1 - x,
    "lerp": lambda x: torch.lerp(x, 2 * x, 0.5),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "masked_fill": lambda x: x.masked_fill(x > 0, 0.0),
    "normalize": lambda x: fn.normalize(x, dim=1),
    "local response norm": nn.LocalResponseNorm(3),
    "instance norm": nn.InstanceNorm2d(3),
    "group norm": nn.GroupNorm(3, 3),
    "layer norm": nn.LayerNorm([3, 4, 6]),
    "rms norm": lambda x: fn.rms_norm(x, (6,)),
    "batch norm": nn.BatchNorm2d(3).eval(),
    "bicubic": lambda x: fn.interpolate(x, scale_factor=2.0, mode="bicubic"),
    "max pool": lambda x: fn.adaptive_max_pool2d(x, 2),
    "transposed": nn.ConvTranspose2d(3, 4, 2, 2),
    "reflected": nn.ReflectionPad2d(1),
    "half": lambda x: x.bfloat16().float(),
    "glu": lambda x: fn.glu(torch.cat([x, x], 1), 1),
    "moved and back": lambda x: x.movedim(1, -1).movedim(-1, 1),
    "flat and back": lambda x: x.flatten(2).unflatten(2, (4, 6)),
    "chunks": lambda x: torch.cat(x.chunk(3, 1), 1),
    "pixel shuffle": lambda x: fn.pixel_shuffle(torch.cat([x] * 4, 1), 2),
    "channel shuffle": lambda x: fn.channel_shuffle(x, 3),
    "channels chosen": lambda x: x[:, torch.tensor([2, 0])],
    "channels the other way": lambda x: x.flip(1),
    "squeeze and excite": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid().expand_as(x),
    "written in place": lambda x: x.clone().mul_(2).add_(1),
    "rolled and back": lambda x: torch.roll(torch.roll(x, 1, 2), -1, 2),
}


def axes_behind(net):
    x = torch.randn(1, 3, 4, 6)
    seen = follow.AxesFollowed(x)
    with torch.no_grad(), seen:
        made = net(x)
    return seen.axes_of(made)


def places(axes):
    return [part.base.axis for axis in axes[2:] for part in axis]


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda one: one.__name__)
def test_every_activation_of_torch_keeps_axes(kind):
    given = {nn.Threshold: (0.1, 0.0), **dict.fromkeys((nn.Softmax, nn.Softmin, nn.LogSoftmax), (1,))}.get(kind, ())
    net = kind(*given).eval()
    assert places(axes_behind(net)) == [1, 2]
    if hasattr(net, "inplace"):
        net.inplace = True
        assert places(axes_behind(lambda x: net(x.clone()))) == [1, 2]


@pytest.mark.parametrize("net", KEEPS.values(), ids=KEEPS)
def test_rows_and_columns_stay_rows_and_columns(net):
    axes = axes_behind(net)
    assert places(axes) == [1, 2]
    assert all(ax.positional(axis) for axis in axes[2:])


@pytest.mark.parametrize(
    "net",
    [
        lambda x: x.flip(-1),
        lambda x: x.sort(-1)[0],
        lambda x: x[..., torch.randperm(6)],
        lambda x: x.flatten(1).reshape(1, 3, 6, 4),
        lambda x: torch.fft.fft(x).abs(),
        lambda x: x.gather(3, x.argsort(-1)),
    ],
)
def test_what_is_not_where_it_was_is_not_called_columns(net):
    assert places(axes_behind(net))[-1:] != [2] or not all(part.whole for axis in axes_behind(net)[3:] for part in axis)


def test_what_does_not_depend_on_the_item_is_told():
    other = torch.randn(1, 3, 4, 6)
    assert axes_behind(lambda x: other.relu() + torch.arange(x.shape[-1])) is None
