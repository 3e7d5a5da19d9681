"""The picture networks of `builtin:mini` as one ONNX graph: ONNX Runtime is faster with them than torch on a CPU.

The graph is written from the networks' weights when they are first used: nothing is exported, no package beside
onnxruntime is needed, and the weights ship once. The format is protobuf's wire format with the field numbers of
ONNX's own `onnx.proto3` (IR version 8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

_IR, _OPSET = 8, 17
_FLOAT = 1  # TensorProto.DataType

#: AttributeProto: number of the field that holds the value, and AttributeProto.AttributeType.
_INTEGER, _INTEGER_KIND = 3, 2
_INTEGERS, _INTEGERS_KIND = 8, 7


class Classifier(Protocol):
    """MobileNetV2 or EfficientNet-Lite0: linear bottlenecks behind a stem, then features, then logits."""

    convolutions: nn.ModuleList
    classifier: nn.Linear
    blocks: tuple[tuple[int, bool], ...]


class _Graph:
    """A graph under way: nodes and constants in ONNX's binary form."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []

    def constant(self, values: np.ndarray) -> str:
        """Add a float32 constant and return its name."""
        name = f"c{len(self.constants)}"
        dims = b"".join(_number(1, size) for size in values.shape)
        raw = np.ascontiguousarray(values).tobytes()
        self.constants.append(_field(5, dims + _number(2, _FLOAT) + _field(8, name.encode()) + _field(9, raw)))
        return name

    def add(
        self, kind: str, inputs: Sequence[str], attributes: Mapping[str, int | Sequence[int]] | None = None
    ) -> str:
        """Add a node of one output and return the output's name."""
        name = f"n{len(self.nodes)}"
        parts = [_field(1, one.encode()) for one in inputs]
        parts += [_field(2, name.encode()), _field(4, kind.encode())]
        parts += [_field(5, _attribute(key, value)) for key, value in (attributes or {}).items()]
        self.nodes.append(_field(1, b"".join(parts)))
        return name

    def convolve(self, layer: nn.Module, x: str, clip: bool = True) -> str:
        """Add a convolution, and ReLU6 behind it where `clip`."""
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        weights = [self.constant(_array(value)) for value in (layer.weight, layer.bias)]
        attributes: dict[str, int | Sequence[int]] = {
            "kernel_shape": layer.kernel_size,
            "strides": layer.stride,
            "pads": _pads(layer),
            "group": layer.groups,
        }
        y = self.add("Conv", [x, *weights], attributes)
        ends = [self.constant(np.array(end, np.float32)) for end in (0, 6)]
        return self.add("Clip", [y, *ends]) if clip else y

    def scale(self, x: str, factor: np.ndarray, shift: np.ndarray) -> str:
        """Add x * factor + shift."""
        y = self.add("Mul", [x, self.constant(factor.astype(np.float32))])
        return self.add("Add", [y, self.constant(shift.astype(np.float32))])

    def classify(self, network: Classifier, x: str) -> tuple[str, str]:
        """Add a classifier and return the names of its features and logits."""
        layers = iter(network.convolutions)
        x = self.convolve(next(layers), x)
        for count, residual in network.blocks:
            y = x
            for _ in range(count - 1):
                y = self.convolve(next(layers), y)
            y = self.convolve(next(layers), y, clip=False)
            x = self.add("Add", [x, y]) if residual else y
        x = self.convolve(next(layers), x)
        features = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        weights = [self.constant(_array(value)) for value in (network.classifier.weight, network.classifier.bias)]
        return features, self.add("Gemm", [features, *weights], {"transB": 1})

    def model(self, outputs: Sequence[str]) -> bytes:
        """Return the whole as a ModelProto with the input `pixels`."""
        ports = [_field(11, _port("pixels")), *(_field(12, _port(name)) for name in outputs)]
        graph = b"".join([*self.nodes, _field(2, b"mini"), *self.constants, *ports])
        return _number(1, _IR) + _field(7, graph) + _field(8, _number(2, _OPSET))


class PictureEngine:
    """Runs the networks on a CPU: pixels float32 (n, 3, side, side) in [0, 1] to features and logits.

    `means` and `deviations` (one of three numbers a classifier) are what each was trained with. Each part of a call
    runs on one thread of its own, as many at once as `threads`.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        means: Sequence[Sequence[float]],
        deviations: Sequence[Sequence[float]],
    ) -> None:
        graph = _Graph()
        outputs: list[str] = []
        for network, mean, deviation in zip(classifiers, means, deviations, strict=True):
            shift, factor = (np.array(three, np.float64)[:, None, None] for three in (mean, deviation))
            outputs += graph.classify(network, graph.scale("pixels", 1 / factor, -shift / factor))
        self._outputs, self._session = outputs, _session(graph.model(outputs))

    def __call__(self, parts: Sequence[Tensor], threads: int) -> list[Tensor]:
        """Return, for all parts together, the first classifier's features and logits, then the second's."""
        rows = [part.contiguous().numpy() for part in parts]
        if threads == 1 or len(rows) == 1:
            found = [self._run(row) for row in rows]
        else:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(self._run, rows))
        return [torch.from_numpy(np.concatenate(column)) for column in zip(*found, strict=True)]

    def _run(self, row: np.ndarray) -> list[np.ndarray]:
        found: list[np.ndarray] = self._session.run(self._outputs, {"pixels": row})
        return found


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # no pool of threads, which a fork would lose
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _array(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().float().cpu().contiguous().numpy()
    return found


def _pads(layer: nn.Conv2d) -> list[int]:
    """Return top, left, bottom, right; a stride of 2 without padding means TensorFlow's SAME on an even side."""
    top, left = (int(pad) for pad in layer.padding)
    if layer.stride == (1, 1) or top:
        return [top, left, top, left]
    total = layer.kernel_size[0] - 2
    return [total // 2, total // 2, total - total // 2, total - total // 2]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    """Return an AttributeProto; integers must not be negative."""
    if isinstance(value, int):
        content, kind = _number(_INTEGER, value), _INTEGER_KIND
    else:
        content, kind = b"".join(_number(_INTEGERS, one) for one in value), _INTEGERS_KIND
    return _field(1, name.encode()) + content + _number(20, kind)


def _port(name: str) -> bytes:
    """Return a ValueInfoProto of a float tensor of any shape."""
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, _FLOAT)))
