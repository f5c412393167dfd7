"""Random convolutional graphs: every operator that windows are followed through, odd sizes, awkward joins."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Builder:
    """Grows a graph tensor by tensor; extents are those of the current tensor."""

    def __init__(self, seed, size=None):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []
        self.height, self.width = size or (int(self.rng.integers(20, 42)), int(self.rng.integers(20, 42)))
        self.channels, self.at = 3, "x"
        self.item = (3, self.height, self.width)

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def weight(self, *shape, scale=1.0):
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return self.constant((self.rng.standard_normal(shape) * scale / np.sqrt(fan)).astype(np.float32))

    def constant(self, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, op, *inputs, outputs=1, **attributes):
        names = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, source, inside, outside, kernel, stride=(1, 1), pads=None, dilation=(1, 1), groups=1, auto=None):
        pads = pads if pads is not None else [k // 2 for k in kernel] * 2
        more = {"auto_pad": auto} if auto else {"pads": list(pads)}
        w = self.weight(outside, inside // groups, *kernel, scale=1.4)
        return self.add(
            "Conv", source, w, self.weight(outside, scale=0.3),
            kernel_shape=list(kernel), strides=list(stride), dilations=list(dilation), group=groups, **more,
        )  # fmt: skip

    def act(self, source, channels=None):
        kind = self.pick("Relu", "Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "HardSwish", "Elu", "Tanh", "", "")
        if kind == "Clip":
            low, high = (self.constant(np.float32(v)) for v in (-0.5, 2.0))
            return self.add("Clip", source, low, high)
        if kind == "PRelu":
            return self.add(
                "PRelu", source, self.constant(self.rng.random((channels or self.channels, 1, 1), np.float32))
            )
        return self.add(kind, source) if kind else source

    # ---- layers: each returns whether it could be added ---------------------------------------------------------

    def any_conv(self):
        kernel = (self.pick(1, 2, 3, 5, 7), self.pick(1, 2, 3, 5))
        stride = (self.pick(1, 1, 2, 3), self.pick(1, 1, 2))
        dilation = (self.pick(1, 1, 2), self.pick(1, 1, 2))
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        pads = [int(self.rng.integers(0, r + 1)) for r in (*reach, *reach)]
        auto = self.pick(None, None, None, "SAME_UPPER", "SAME_LOWER", "VALID")
        if max(dilation) > 1 and auto != "VALID":
            auto = None  # the runtime refuses the pair
        sides = []
        for axis, n in enumerate((self.height, self.width)):
            if auto in ("SAME_UPPER", "SAME_LOWER"):
                sides.append(-(-n // stride[axis]))
            else:
                room = n - reach[axis] - 1 + (0 if auto else pads[axis] + pads[axis + 2])
                sides.append(room // stride[axis] + 1)
        if min(sides) < 4:
            return False
        dividing = [g for g in (2, 3, 4, self.channels) if self.channels % g == 0]
        groups = self.pick(*dividing) if dividing and self.rng.random() < 0.4 else 1
        outside = self.channels * self.pick(1, 1, 2) if groups > 1 else self.pick(5, 8, 16, 24, 40)
        if outside > 64:
            return False
        made = self.conv(self.at, self.channels, outside, kernel, stride, pads, dilation, groups, auto)
        self.channels, (self.height, self.width) = outside, sides
        self.at = self.act(made)
        return True

    def pool(self):
        if min(self.height, self.width) < 8:
            return False
        k, s = self.pick(2, 3), self.pick(1, 2)
        op, p = self.pick("MaxPool", "AveragePool"), int(self.rng.integers(0, 2)) if self.rng.random() < 0.5 else 0
        p = min(p, k // 2)
        ceil = int(self.rng.random() < 0.4 and p == 0 and op == "MaxPool")
        more = {"count_include_pad": self.pick(0, 1)} if op == "AveragePool" else {}
        made = self.add(op, self.at, kernel_shape=[k, k], strides=[s, s], pads=[p] * 4, ceil_mode=ceil, **more)
        round_ = (lambda n: -(-n // s)) if ceil else (lambda n: n // s)
        self.height, self.width = (round_(n + 2 * p - k) + 1 for n in (self.height, self.width))
        self.at = made
        return True

    def residual(self):
        outside = self.pick(16, 32, 24)
        if self.channels != outside:
            self.at = self.act(self.conv(self.at, self.channels, outside, (1, 1)), outside)
            self.channels = outside
        inner = self.act(self.conv(self.at, outside, outside, (3, 3)))
        arm = self.conv(inner, outside, outside, (3, 3), groups=self.pick(1, 1, outside))
        pair = (arm, self.at) if self.rng.random() < 0.5 else (self.at, arm)
        self.at = self.act(self.add(self.pick("Add", "Add", "Sub", "Mul"), *pair))
        return True

    def branches(self):
        a = self.act(self.conv(self.at, self.channels, 16, (1, 1)), 16)
        b = self.act(self.conv(self.at, self.channels, self.pick(9, 16, 32), (5, 5)), self.weights[-2].dims[0])
        width = self.weights_of(b)
        parts, total = [a, b], 16 + width
        if self.rng.random() < 0.5:
            parts.insert(self.pick(0, 2), self.at)
            total += self.channels
        self.at, self.channels = self.add("Concat", *parts, axis=1), total
        return True

    def weights_of(self, name):
        """Channels of what a branch made: those of its last convolution."""
        makers = {node.output[0]: node for node in self.nodes}
        node = makers[name]
        while node.op_type != "Conv":
            node = makers[node.input[0]]
        return next(w.dims[0] for w in self.weights if w.name == node.input[1])

    def dense_block(self):
        for _ in range(3):
            c = self.channels
            if c > 90:
                break
            normed = self.act(self.norm(self.at, c))
            new = self.conv(self.act(self.conv(normed, c, 32, (1, 1)), 32), 32, 16, (3, 3))
            self.at, self.channels = self.add("Concat", self.at, new, axis=1), c + 16
        return True

    def norm(self, source, channels):
        positive = [self.constant(self.rng.random(channels, np.float32) + 0.5) for _ in range(2)]
        shifts = [self.weight(channels, scale=0.2) for _ in range(2)]
        return self.add("BatchNormalization", source, positive[0], shifts[0], shifts[1], positive[1])

    def batch_norm(self):
        self.at = self.act(self.norm(self.at, self.channels))
        return True

    def split(self):
        if self.channels < 6:
            return False
        first = self.pick(self.channels // 2, 16) if self.channels > 16 else self.channels // 2
        sizes = self.constant(np.array([first, self.channels - first], np.int64))
        a, b = self.add("Split", self.at, sizes, outputs=2, axis=1)
        self.at = self.add("Concat", self.act(b, self.channels - first), self.act(a, first), axis=1)
        return True

    def constants(self):
        kind = self.pick("Add", "Mul", "Sub", "Div", "plane")
        if kind == "plane":
            self.at = self.add("Mul", self.at, self.weight(1, self.channels, self.height, self.width, scale=20))
        else:
            value = self.constant(self.rng.random((self.channels, 1, 1), np.float32) + 0.5)
            pair = (value, self.at) if kind != "Div" and self.rng.random() < 0.5 else (self.at, value)
            self.at = self.act(self.add(kind, *pair))
        return True

    def frame(self):
        if self.rng.random() < 0.5:
            pads = [0, 0, 1, 2, 0, 0, 0, 3]
            self.at = self.add("Pad", self.at, self.constant(np.array(pads, np.int64)), self.constant(np.float32(0.7)))
            self.height, self.width = self.height + 1, self.width + 5
            return True
        if min(self.height, self.width) < 8:
            return False
        bounds = [self.constant(np.array(v, np.int64)) for v in ([1, 0], [self.height, -2], [2, 3])]
        self.at = self.add("Slice", self.at, *bounds)
        self.height, self.width = self.height - 1, self.width - 2
        return True

    def enlarge(self):
        if max(self.height, self.width) > 30:
            return False
        scales = self.constant(np.array([1, 1, 2, 1.5], np.float32))
        ways = [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("asymmetric", "ceil")]
        where, rounding = ways[int(self.rng.integers(len(ways)))]
        self.at = self.add(
            "Resize", self.at, "", scales,
            mode="nearest", coordinate_transformation_mode=where, nearest_mode=rounding,
        )  # fmt: skip
        self.height, self.width = self.height * 2, int(self.width * 1.5)
        return True

    def squeeze_excite(self):
        mean = self.add("GlobalAveragePool", self.at)
        self.at = self.add("Mul", self.at, self.add("Sigmoid", self.conv(mean, self.channels, self.channels, (1, 1))))
        return True

    # ---- the whole ----------------------------------------------------------------------------------------------

    def finish(self, classes=10):
        if self.rng.random() < 0.2:
            self.squeeze_excite()
        if self.rng.random() < 0.3:
            self.at = self.add("Softmax", self.at, axis=1)  # not local in the way that steps are: the rest is the tail
        features = self.channels
        if self.rng.random() < 0.6:
            self.at = self.add("GlobalAveragePool", self.at)
        else:
            features *= self.height * self.width
        flat = self.add("Flatten", self.at, axis=1)
        self.nodes.append(
            helper.make_node("Gemm", [flat, self.weight(features, classes, scale=1.5), self.weight(classes)], ["y"])
        )
        return self.model(classes)

    def model(self, classes):
        """The model of the nodes there are, of which the last makes ``y``."""
        batch = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", *self.item])
        out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self.nodes, "random", [batch], [out], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def random_net(seed, layers=None):
    """A model ``x [N, 3, H, W] -> y [N, 10]`` and the shape of its items."""
    b = Builder(seed)
    kinds = (
        b.any_conv, b.any_conv, b.any_conv, b.pool, b.residual, b.branches, b.dense_block, b.batch_norm, b.split,
        b.constants, b.frame, b.enlarge,
    )  # fmt: skip
    b.any_conv()
    for _ in range(layers or int(b.rng.integers(3, 8))):
        kinds[int(b.rng.integers(len(kinds)))]()
    return b.finish(), b.item


def boxes_on(seed, item, count=40):
    """Rectangles of all sizes: clipped ones, empty ones, the whole plane, single pixels in the corners."""
    rng = np.random.default_rng(seed + 1)
    height, width = item[1:]
    y, x = rng.integers(-4, height, count), rng.integers(-4, width, count)
    boxes = np.stack([y, x, y + rng.integers(0, 14, count), x + rng.integers(0, 14, count)], axis=1)
    special = [(0, 0, height, width), (height - 1, width - 1, height, width), (5, 5, 5, 9), (-9, -9, 0, 0)]
    return np.concatenate([boxes, np.array(special)]).astype(np.int32)
