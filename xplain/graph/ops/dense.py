"""Matrix products. Transposes of activations are absorbed by the runtime (FusedMatMul); weights need none."""

from __future__ import annotations

from xplain.core.rules import Kind
from xplain.graph.build.tracer import Shape, Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall


def _kind(call: NodeCall) -> Kind:
    return "product" if sum(call.active[:2]) > 1 else "linear"


def _batch(a: Value, b: Value, matrix: Shape) -> Shape:
    """The shape of a product whose batch extents are those of ``a`` and ``b``, broadcast."""
    rank = max(a.rank, b.rank)
    sa, sb = a.shape or (), b.shape or ()
    left = (1,) * (rank - len(sa)) + sa[:-2]
    right = (1,) * (rank - len(sb)) + sb[:-2]
    return (*(q if p == 1 else p for p, q in zip(left, right, strict=True)), *matrix)


facts("MatMul Gemm", axes="last", linear="either")
facts("FusedGemm FusedMatMul", weighted=True)
facts("FusedGemm", like="Gemm")
facts("FusedMatMul", like="MatMul")
facts("MatMul FusedMatMul", learnt=(0, 1))
facts("Gemm FusedGemm", learnt=(0, 1, 2))


@backward("MatMul", kind=_kind, weight=1)
def matmul(call: NodeCall, g: Value) -> list[Value | None]:
    """DA = dY B^T, dB = A^T dY, summed over batch axes that were broadcast."""
    t, a, b = call.t, call.need(0), call.need(1)
    row, column = a.rank == 1, b.rank == 1
    left = t.unsqueeze(a, [0]) if row else a
    right = t.unsqueeze(b, [1]) if column else b
    if column:
        g = t.unsqueeze(g, [-1])
    if row:
        g = t.unsqueeze(g, [-2])
    da = db = None
    width = (right.shape or (None,))[-1]
    if call.active[0] and not call.active[1] and right.rank == 2 and isinstance(width, int):
        flat = g if g.rank == 2 else t.reshape(g, [-1, width])
        da = _through_shared(call, flat, left, right)
        da = t.reshape_like(da, a) if row else da
    elif call.active[0]:
        da = t.MatMul(g, t.swap(right))
        da = t.unbroadcast(da, left, _batch(left, right, (left.shape or ())[-2:]))
        da = t.reshape_like(da, a) if row else da
    if call.active[1]:
        if right.rank == 2 and left.rank > 2:
            # one flat product instead of a batch of products and a sum
            rows = [t.Reshape(v, t.ints(-1, _width(call, v))) for v in (left, g)]
            db = t.MatMul(t.swap(rows[0]), rows[1])
        else:
            db = t.MatMul(t.swap(left), g)
            db = t.unbroadcast(db, right, _batch(left, right, (right.shape or ())[-2:]))
        db = t.reshape_like(db, b) if column else db
    return [da, db]


def _through_shared(call: NodeCall, flat: Value, left: Value, right: Value) -> Value:
    """DA = (B DY^T)^T for a matrix B ``[K, N]`` that all items share; ``flat`` is DY with all rows as one matrix.

    DY B^T would need B transposed, and a runtime keeps that as a second set of weights, rearranged for its kernels.
    As the left operand B is read as it lies, so both directions share one.
    """
    t = call.t
    return t.reshape_like(t.permute(t.Gemm(right, flat, transB=1), [1, 0]), left)


def _width(call: NodeCall, v: Value) -> int:
    """The last extent, which a flat product needs."""
    last = (v.shape or (None,))[-1]
    if not isinstance(last, int):
        raise call.refuse("the gradient of a shared matrix needs a known last extent")
    return last


@backward("Gemm", kind=_kind, weight=1, bias=2)
def gemm(call: NodeCall, g: Value) -> list[Value | None]:
    """Y = alpha A' B' + beta C."""
    t, a, b = call.t, call.need(0), call.need(1)
    ta, tb = call.attribute("transA", 0), call.attribute("transB", 0)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    da = db = dc = None
    if call.active[0]:
        da = t.Gemm(b, g, transA=tb, transB=1, alpha=alpha) if ta else t.Gemm(g, b, transB=1 - tb, alpha=alpha)
    if call.active[1]:
        db = t.Gemm(g, a, transA=1, transB=ta, alpha=alpha) if tb else t.Gemm(a, g, transA=1 - ta, alpha=alpha)
    if len(call.active) > 2 and call.active[2]:
        dc = call.shaped(g if beta == 1.0 else g * beta, 2)
    return [da, db, dc]


@backward("Einsum", kind=_kind, weight=1)
def einsum(call: NodeCall, g: Value) -> list[Value | None]:
    """The cotangent of one operand is an Einsum of dy with all the others."""
    equation = str(call.attribute("equation")).replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    if not arrow:  # implicit output: letters that appear once, in alphabetical order
        letters = left.replace(",", "")
        out = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    found: list[Value | None] = []
    for k, term in enumerate(terms):
        if not call.active[k]:
            found.append(None)
            continue
        others = [(terms[j], call.need(j)) for j in range(len(terms)) if j != k]
        reachable = set(out).union(*[set(name) for name, _ in others]) if others else set(out)
        if "." in equation or len(set(term)) != len(term) or set(term) - reachable:
            raise call.refuse(f"the equation {equation!r} repeats a letter, sums one alone or has an ellipsis")
        terms_now = ",".join([out, *(name for name, _ in others)])
        found.append(call.t.Einsum(g, *(v for _, v in others), equation=f"{terms_now}->{term}"))
    return found
