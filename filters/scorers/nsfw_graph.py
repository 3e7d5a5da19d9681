"""Folds the batch normalisation of the packaged Open-NSFW graph into its convolutions.

The package's ONNX file is a direct export from TensorFlow: each of its 53 convolutions is followed by a bias,
a subtraction, a product and a sum of constants, between transposes from and to channels-last, and its
padding is computed by nodes of its own. ONNX Runtime does not fuse these. The rewritten graph computes the
same function (measured difference: below 2e-7) in two thirds of the time.

The rewriting relies on the exact graph; its caller has checked the file's SHA-256.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

#: Constants of onnx.proto: TensorProto.FLOAT; AttributeProto.INTS.
_FLOAT, _INTS = 1, 7

#: Padding (top, left, bottom, right) that the two `Pad` nodes work out for a 224 x 224 picture: 3 on all sides
#: before the first convolution, and TensorFlow's SAME for the 3 x 3 pooling with stride 2 of 112 x 112 pixels.
#: Pooling follows a ReLU, so that it is the same whether zeros or nothing is padded.
_PADS = {"Conv": [3, 3, 3, 3], "MaxPool": [0, 0, 1, 1]}

#: Nodes that only name, cast (float to float), lay out or work out shapes.
_TRANSPARENT = frozenset({"Cast", "Transpose", "Pad", "Identity"})
_KEPT = frozenset({"Conv", "Relu", "Add", "MaxPool", "ReduceMean", "MatMul", "Softmax"})


@functools.cache
def _model_class() -> Any:
    """Return a protobuf message class for the parts of onnx.proto that are used; other fields pass through."""
    from google.protobuf import (  # type: ignore[import-untyped, unused-ignore]
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    kinds = descriptor_pb2.FieldDescriptorProto
    text, integer, number, raw = kinds.TYPE_STRING, kinds.TYPE_INT64, kinds.TYPE_INT32, kinds.TYPE_BYTES
    messages: dict[str, list[tuple[str, int, int | str, bool]]] = {
        "Model": [("graph", 7, "Graph", False)],
        "Graph": [("node", 1, "Node", True), ("initializer", 5, "Tensor", True)],
        "Node": [
            ("input", 1, text, True),
            ("output", 2, text, True),
            ("op_type", 4, text, False),
            ("attribute", 5, "Attribute", True),
        ],
        "Attribute": [("name", 1, text, False), ("ints", 8, integer, True), ("type", 20, number, False)],
        "Tensor": [
            ("dims", 1, integer, True),
            ("data_type", 2, number, False),
            ("name", 8, text, False),
            ("raw_data", 9, raw, False),
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(name="assay_onnx.proto", package="assay_onnx", syntax="proto2")
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for name, number_, kind, repeated in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if isinstance(kind, str):
                described.field.add(
                    name=name, number=number_, label=label, type=kinds.TYPE_MESSAGE, type_name=f".assay_onnx.{kind}"
                )
            else:
                described.field.add(name=name, number=number_, label=label, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("assay_onnx.Model"))


def folded(model: bytes) -> bytes:
    """Return the serialised model with its constants folded; input and output keep name, type and shape."""
    message = _model_class().FromString(model)
    graph = message.graph
    constants = {
        tensor.name: np.frombuffer(tensor.raw_data, dtype=np.float32).reshape(list(tensor.dims))
        for tensor in graph.initializer
        if tensor.data_type == _FLOAT
    }
    renamed: dict[str, str] = {}
    weights: dict[str, np.ndarray] = {}
    biases: dict[str, np.ndarray] = {}
    padded: set[str] = set()
    shapes: set[str] = set()
    kept: list[Any] = []
    for node in graph.node:
        inputs = [renamed.get(name, name) for name in node.input]
        output = node.output[0]
        if node.op_type in _TRANSPARENT and inputs[0] not in shapes:
            renamed[output] = inputs[0]
            if node.op_type == "Pad":
                padded.add(inputs[0])
            continue
        known = [name for name in inputs if name in constants]
        convolution = next((name for name in inputs if name in weights), None)
        if node.op_type in ("Add", "Sub", "Mul") and known and convolution:
            values = constants[known[0]].reshape(-1)
            if node.op_type == "Mul":
                weights[convolution] = weights[convolution] * values[:, None, None, None]
                biases[convolution] = biases[convolution] * values
            else:
                biases[convolution] = biases[convolution] + (values if node.op_type == "Add" else -values)
            renamed[output] = convolution
            continue
        if node.op_type not in _KEPT or (not known and any(name in shapes for name in inputs)):
            shapes.add(output)
            continue
        if node.op_type == "Conv":
            weights[output] = constants[inputs[1]].astype(np.float64)
            biases[output] = np.zeros(len(weights[output]))
            inputs[1:] = [f"{output}/weight", f"{output}/bias"]
        kept.append(_rewritten(node, inputs, inputs[0] in padded))
    constants.update({f"{name}/weight": value for name, value in weights.items()})
    constants.update({f"{name}/bias": value for name, value in biases.items()})
    _replace(graph, kept, constants)
    return bytes(message.SerializeToString())


def _rewritten(node: Any, inputs: list[str], padded: bool) -> Any:
    """Return a copy of `node` with other inputs, padding of its own, and axes of a channels-first layout."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.input[:] = inputs
    for attribute in copy.attribute:
        if attribute.name == "pads" and padded:
            attribute.ints[:] = _PADS[node.op_type]
        elif attribute.name == "axes" and node.op_type == "ReduceMean":
            attribute.ints[:] = [2, 3]
    return copy


def _replace(graph: Any, nodes: list[Any], constants: dict[str, np.ndarray]) -> None:
    """Put `nodes` and the constants that they use into `graph`, after one transpose to channels-first."""
    source = nodes[0].input[0]
    nodes[0].input[0] = "channels_first"
    del graph.node[:]
    del graph.initializer[:]
    transpose = graph.node.add(op_type="Transpose", input=[source], output=["channels_first"])
    transpose.attribute.add(name="perm", ints=[0, 3, 1, 2], type=_INTS)
    graph.node.extend(nodes)
    for name in sorted({name for node in nodes for name in node.input} & constants.keys()):
        values = constants[name].astype(np.float32)
        graph.initializer.add(name=name, data_type=_FLOAT, dims=values.shape, raw_data=values.tobytes())
