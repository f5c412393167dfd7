"""ONNX graphs: loading, passes, backward rules per operator, and the reverse sweep. The only room that imports onnx."""
