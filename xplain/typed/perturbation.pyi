"""Made from the registry by tests/docs/methods_table.py; do not edit."""

from typing import Any, Literal

from .asked import Asked

class Ablation(Asked, total=False):
    features: Any
    leave: Literal["out", "in"]
    baseline: Any
    background: Any

class Anchors(Asked, total=False):
    features: Any
    threshold: float
    delta: float
    tolerance: float
    beam: int
    longest: int
    samples: int
    baseline: Any
    above: float | None

class Banzhaf(Asked, total=False):
    features: Any
    samples: int
    baseline: Any
    background: Any
    precision: float | None

class Counterfactual(Asked, total=False):
    background: Any
    immutable: Any
    rising: Any
    falling: Any
    many: int
    most: int

class Dice(Asked, total=False):
    background: Any
    many: int
    above: float | None
    immutable: Any
    rising: Any
    falling: Any
    proximity: float
    sparsity: float
    diversity: float
    samples: int

class ExactShapley(Asked, total=False):
    features: Any
    baseline: Any
    background: Any

class Hsic(Asked, total=False):
    features: Any
    samples: int
    baseline: Any
    background: Any
    precision: float | None

class Interactions(Asked, total=False):
    index: Literal["fsii", "k-sii", "stii"]
    features: Any
    samples: int
    baseline: Any
    background: Any
    precision: float | None

class KernelShap(Asked, total=False):
    features: Any
    samples: int
    baseline: Any
    background: Any
    precision: float | None

class Lime(Asked, total=False):
    features: Any
    samples: int
    distance: Literal["cosine", "l2"]
    width: float | None
    surrogate: Literal["ridge", "tree"]
    penalty: float
    top: int | None
    selection: Literal["auto", "highest", "lasso-path", "forward"]
    baseline: Any
    background: Any
    precision: float | None

class LinearShap(Asked, total=False):
    features: Any
    baseline: Any
    background: Any
    tolerance: float

class Occlusion(Asked, total=False):
    patch: int | tuple[int, ...] | None
    stride: int | tuple[int, ...] | None
    baseline: Any
    features: Any

class PartitionShap(Asked, total=False):
    features: Any
    samples: int
    hierarchy: Any
    context: Literal["both", "absent", "present"]
    baseline: Any
    background: Any

class ProxyShap(Asked, total=False):
    features: Any
    samples: int
    baseline: Any
    background: Any
    precision: float | None
    trees: int

class Qii(Asked, total=False):
    features: Any
    samples: int
    background: Any
    precision: float | None

class Rise(Asked, total=False):
    samples: int
    cells: int | tuple[int, ...]
    keep: float
    baseline: Any
    precision: float | None

class ShapleySampling(Asked, total=False):
    features: Any
    samples: int
    baseline: Any
    background: Any
    precision: float | None

class Sobol(Asked, total=False):
    features: Any
    designs: int
    baseline: Any
    precision: float | None

class Sufficient(Asked, total=False):
    features: Any
    kind: Literal["sufficient", "contrastive", "both"]
    baseline: Any
    above: float | None
    exhaustive: int
    samples: int

class TreeShap(Asked, total=False):
    kind: Literal["auto", "interventional", "path-dependent"]
    background: Any
