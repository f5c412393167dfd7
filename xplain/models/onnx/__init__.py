"""ONNX files that answer questions, through ONNX Runtime: the only place that runs one."""
