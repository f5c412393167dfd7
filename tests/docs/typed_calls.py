"""Calls as an editor sees them: ``mypy --strict`` takes this file, so it knows each method's options."""

from typing import assert_type

import xplain

assert_type(xplain.explain("m.onnx", "cat.jpg", "rise", samples=500, target="tabby", seed=3), xplain.Attribution)
assert_type(xplain.explain("m.onnx", "cat.jpg", "occlusion", patch=(4, 8), stride=None), xplain.Attribution)
assert_type(xplain.explain("m.onnx", "cat.jpg"), xplain.Attribution)
for name in ["lime", "rise"]:
    assert_type(xplain.explain_many("m.onnx", "cat.jpg", name, target="top3"), list[xplain.Attribution])
