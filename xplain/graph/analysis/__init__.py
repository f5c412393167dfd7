"""What is known of a graph before anything is built of it: order, parts, types, constants, quantised tensors.

All of it is found here for every room. Two kinds of shapes are kept apart: loading bounds each tensor in numbers for
one item, node by node, since a file that is not trusted must never be unfolded (``xplain.graph.intake.bounds``); sweeps
need names of free extents, which are found once for a model (``xplain.graph.passes.analysed``).

The package ``onnx-ir`` was tried for this and is not used. What it finds is the same, but it keeps a model as objects
of its own, and the runtime and ONNX's inference read a protobuf: each way back costs more than all that it would save.
CPU milliseconds on one core, this room / onnx-ir 1.1.0 (``python benchmarks/graph_library.py FILE ...``):

| | order | unused nodes | types | back to a protobuf |
|---|---|---|---|---|
| MobileNetV2, 102 nodes | 0.3 / 0.5 | 0.2 / 0.6 | 0.5 / 9.2 | - / 3.7 |
| ResNet-50, 122 nodes | 0.3 / 0.5 | 0.3 / 0.6 | 0.4 / 9.0 | - / 9.7 |
| DenseNet-121, 430 nodes | 1.0 / 1.8 | 0.9 / 2.7 | 1.5 / 32 | - / 12.5 |
"""
