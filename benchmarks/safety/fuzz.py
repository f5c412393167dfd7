"""Damaged model files, made by the thousand from a seed: each must load or be refused, by an error of xplain's own.

    python benchmarks/safety/fuzz.py                     # 100,000 mutants, all kinds
    python benchmarks/safety/fuzz.py --count 200         # a slice, as the tests run it
    python benchmarks/safety/fuzz.py --only 4711         # one mutant again; writes it to mutant-4711.onnx
    python benchmarks/safety/fuzz.py --inside            # without first contact in a process of its own

A mutant is one of the nets of ``tests/nets.py``, or one of ONNX's own models of a single operator, with bytes changed,
cut or copied, or with fields of the message changed: numbers to the edges of their range, names to those of others,
parts left out, doubled or moved. Each is loaded and explained (by occlusion or ablation, and by saliency), and every
fifth is compiled. Workers run one after another; one that dies, or takes more than 10 s of processor time, is a
finding, as is an exception that is not xplain's. Same seeds, same mutants.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
EDGES = [0, 1, -1, 2, 3, 7, 16, 64, 127, 255, 1000, 65536, 2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63)]


def corpus() -> list[tuple[str, bytes]]:
    """Small models by name, always in the same order."""
    sys.path.insert(0, str(ROOT / "tests"))
    import nets
    from onnx.backend.test.case.node import collect_testcases

    makers = ("planted", "cnn", "half", "channels_last", "fixed_batch", "four_dimensional", "quantised", "forest")
    found = [(name, getattr(nets, name)().SerializeToString()) for name in makers] * 120
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = sorted(collect_testcases(None), key=lambda case: case.name)
    found += [(case.name, case.model.SerializeToString()) for case in cases if case.model.ByteSize() < 20000]
    return found


def mutate(content: bytes, draw: random.Random) -> bytes:
    """One mutant of a file."""
    if draw.random() < 0.4:
        return _bytes(bytearray(content), draw)
    model = onnx.ModelProto.FromString(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        _field(model, draw)
    try:
        return bytes(model.SerializeToString())
    except Exception:  # a field that was made too deep or too large to write
        return content


def _bytes(content: bytearray, draw: random.Random) -> bytes:
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        at = draw.randrange(len(content) + 1)
        kind = draw.randrange(5)
        if kind == 0 and at < len(content):
            content[at] = draw.randrange(256)
        elif kind == 1 and at < len(content):
            content[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del content[at : at + draw.choice((1, 2, 8, 64))]
        elif kind == 3:
            source = draw.randrange(len(content) + 1)
            content[at:at] = content[source : source + draw.choice((1, 4, 32))]
        elif kind == 4 and draw.random() < 0.2:
            del content[at:]
    return bytes(content)


def _messages(message: Any) -> list[Any]:
    found, waiting = [], [message]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for field, value in one.ListFields():
            if field.message_type is not None:
                waiting.extend(value if hasattr(value, "add") else [value])
    return found


def _field(model: Any, draw: random.Random) -> None:
    """Change one field of one message."""
    messages = _messages(model)
    names = sorted({n for m in messages if m.DESCRIPTOR.name == "NodeProto" for n in (*m.input, *m.output)})
    # nodes and attributes are where harm is done, and few among the messages
    worthy = [m for m in messages if m.DESCRIPTOR.name in ("NodeProto", "AttributeProto", "TensorProto", "Dimension")]
    message = draw.choice(worthy if worthy and draw.random() < 0.7 else messages)
    field = draw.choice(list(message.DESCRIPTOR.fields))
    value = getattr(message, field.name)
    try:
        if hasattr(value, "append") or hasattr(value, "add"):
            _list(message, field, value, names, draw)
        elif field.message_type is not None:
            if draw.random() < 0.5:
                message.ClearField(field.name)
            else:
                others = [m for m in messages if m.DESCRIPTOR.full_name == field.message_type.full_name]
                if others:
                    value.CopyFrom(_copy(draw.choice(others)))
        else:
            setattr(message, field.name, _scalar(field, value, names, draw))
    except (ValueError, TypeError, OverflowError):
        message.ClearField(field.name)


def _copy(message: Any) -> Any:
    """A copy that holds nothing of its source: protobuf dies where a message is copied into its own part."""
    return type(message).FromString(message.SerializePartialToString())


def _list(message: Any, field: Any, value: Any, names: list[str], draw: random.Random) -> None:
    kind = draw.randrange(4)
    if kind == 0 or (kind == 1 and not len(value)):
        if field.message_type is not None:
            value.add()
        else:
            value.append(_scalar(field, None, names, draw))
    elif kind == 1:
        del value[draw.randrange(len(value))]
    elif len(value):
        at = draw.randrange(len(value))
        if field.message_type is not None:
            value.add().CopyFrom(_copy(value[at]))
        elif kind == 2:
            value[at] = _scalar(field, value[at], names, draw)
        else:
            value.extend([value[at]] * draw.choice((1, 3, 70)))


def _scalar(field: Any, value: Any, names: list[str], draw: random.Random) -> Any:
    if field.type == field.TYPE_STRING:
        return draw.choice(
            [*names, "", "x" * 300, "If", "Loop", "Relu", "Softmax", "com.microsoft", "\x1b[31m", "ai.onnx"]
        )
    if field.type == field.TYPE_BYTES:
        return draw.choice([b"", b"\xff\xfe", bytes(8), (value or b"")[:-1], (value or b"") * 2])
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return draw.choice([0.0, -1.0, float("nan"), float("inf"), 1e38, -1e-38])
    if field.enum_type is not None:
        return draw.choice([one.number for one in field.enum_type.values])
    edge = draw.choice(EDGES)
    return edge if draw.random() < 0.6 else int(value or 0) + draw.choice((-2, -1, 1, 2))


def mutant(files: list[tuple[str, bytes]], number: int) -> tuple[str, bytes]:
    """Mutant ``number``: the name of what it was made of, and its content."""
    draw = random.Random(hashlib.sha256(f"xplain {number}".encode()).digest())
    name, content = draw.choice(files)
    return name, mutate(content, draw)


def _load(content: bytes, limits: Any) -> Any:
    """The model, with zeros for all inputs but the first, where there are several."""
    import xplain
    from xplain.core.errors import UsageError

    try:
        return xplain.load(content, limits=limits)
    except UsageError as error:
        refused = error
        if "Say which is explained" not in str(error) and "no value is assumed" not in str(error):
            raise
    entries = {entry.name: entry for entry in onnx.ModelProto.FromString(content).graph.input}
    first, *others = entries
    fixed = {}
    for name in others:
        kind = entries[name].type.tensor_type
        sizes = [d.dim_value if 0 < d.dim_value < 10**4 else 1 for d in kind.shape.dim]
        if np.prod(sizes, dtype=float) > 10**6:
            raise refused
        fixed[name] = np.zeros(sizes, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return xplain.load(content, limits=limits, input=first, fixed=fixed)


def use(content: bytes, number: int, inside: bool) -> str:
    """What became of a mutant: ``explained``, or the name of the error."""
    import xplain
    from xplain.core.errors import XplainError
    from xplain.graph.safety import Limits

    limits = Limits(contact_seconds=0 if inside else 3, seconds=3)
    try:
        model = _load(content, limits)
        spec = next(one for one in model.outline.inputs if one.name == model.outline.input)
        sizes = [n or (1 if k == 0 else 16) for k, n in enumerate(spec.shape)]
        if np.prod(sizes, dtype=float) > (10**6 if len(sizes) == 4 else 5000):
            return "large"
        x = np.random.default_rng(0).random(sizes).astype(np.float32)
        picture = len(sizes) == 4
        methods = (
            {"occlusion": {"patch": 8, "stride": 8}, "saliency": {}} if picture else {"ablation": {}, "saliency": {}}
        )
        said = "explained"
        for method, options in methods.items():
            try:
                xplain.explain(model, x, method, **options)
            except XplainError as error:
                said = type(error).__name__
        if number % 5 == 0:
            xplain.compile(model, "saliency", target=0)
    except XplainError as error:
        return type(error).__name__
    return said


def work(start: int, stop: int, inside: bool) -> None:
    """Use some mutants, and say before and after each; processor time is limited for each anew."""
    files = corpus()
    warnings.simplefilter("ignore")
    import xplain.models.onnx.open
    import xplain.testing  # noqa: F401  (imports are no part of a mutant's time)

    for number in range(start, stop):
        spent = sum(os.times()[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + SECONDS + 1, resource.RLIM_INFINITY))
        name, content = mutant(files, number)
        print(f"> {number} {name}", flush=True)
        try:
            said = use(content, number, inside)
        except BaseException as error:  # that is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"RAW {type(error).__name__} {str(error)[:100]!a} at {Path(where.filename).name}:{where.lineno}"
        print(f"< {number} {' '.join(said.split())}", flush=True)


def watch(start: int, stop: int, inside: bool) -> dict[str, list[str]]:
    """Let workers use mutants; a worker that is gone is followed by another."""
    outcomes: dict[str, list[str]] = collections.defaultdict(list)
    began, at = time.monotonic(), start
    while at < stop:
        command = [sys.executable, __file__, "--work", str(at), str(stop), *(["--inside"] if inside else [])]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert worker.stdout is not None
        name = ""
        for line in worker.stdout:
            mark, number, rest = (*line.rstrip("\n").split(" ", 2), "", "")[:3]
            if mark not in ("<", ">") or not number.isdigit():
                continue  # a library that prints
            if mark == ">":
                at, name = int(number), rest
            else:
                kind = "raw" if rest.startswith("RAW") else rest
                outcomes[kind].append(f"{number} {name}: {rest}")
                at = int(number) + 1
                if kind == "raw":
                    print(f"{number} {name}: {rest}", flush=True)
                if at % 500 == 0:
                    counts = {k: len(v) for k, v in sorted(outcomes.items())}
                    print(f"{at - start} in {time.monotonic() - began:.0f} s: {counts}", flush=True)
        code = worker.wait()
        if at < stop:
            kind = "hang" if code == -signal.SIGXCPU else "died"
            said = f"{at} {name}: {kind} {signal.Signals(-code).name if code < 0 else code}"
            outcomes[kind].append(said)
            print(said, flush=True)
            at += 1
    return outcomes


def main() -> int:
    """Run, print what was found, and tell by the exit code whether there is something to mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--inside", action="store_true")
    parser.add_argument("--work", type=int, nargs=2)
    given = parser.parse_args()
    if given.work:
        work(*given.work, given.inside)
        return 0
    if given.only is not None:
        name, content = mutant(corpus(), given.only)
        Path(f"mutant-{given.only}.onnx").write_bytes(content)
        print(name, use(content, given.only, given.inside))
        return 0
    outcomes = watch(given.start, given.start + given.count, given.inside)
    print({kind: len(found) for kind, found in sorted(outcomes.items())})
    return 1 if any(outcomes[kind] for kind in ("raw", "hang", "died")) else 0


if __name__ == "__main__":
    sys.exit(main())
