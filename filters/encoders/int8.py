"""Both towers in 8-bit integers by ONNX Runtime, made once from a model's weights and kept in a cache.

Weights are rounded per output channel beforehand, activations per matrix while it runs (`quantize_dynamic`, QInt8,
MatMul and Gemm; all else stays float32). Exporting takes up to a minute and the packages of the extra `onnx`; running
needs onnxruntime alone. What the rounding costs depends on the weights: `assay doctor --model URI` measures it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from filters import environment
from filters.encoders.towers import CausalText
from filters.errors import BadInput, first_line

#: Raised whenever the same weights would give another file.
FORMAT = 1

#: Names that no layer of a model has.
_INPUT, _OUTPUT = "assay_rows", "assay_features"


def cache_folder() -> Path:
    """Return the folder that keeps int8 towers: `assay/int8` in the XDG cache home, or `$ASSAY_CACHE/int8`."""
    return environment.cache_folder("int8")


class Int8Towers:
    """A model's towers in int8 on the CPU, on one thread.

    Rows are run one at a time: the activations' scale is then that of one picture or text, so that no embedding
    depends on what else is in the batch; measured, larger batches were not faster. Safe to call from several threads.
    """

    def __init__(self, picture: Path, text: Path, causal: bool) -> None:
        self._picture, self._text = _session(picture), _session(text)
        self._causal = causal

    def images(self, pixels: Tensor) -> np.ndarray:
        """Encode float32 (n, 3, height, width)."""
        return np.concatenate([self._run(self._picture, row[None]) for row in pixels])

    def texts(self, tokens: Tensor) -> np.ndarray:
        """Encode int64 (n, length)."""
        ends = tokens.argmax(dim=-1) + 1 if self._causal else torch.full((len(tokens),), tokens.shape[1])
        return np.concatenate(
            [self._run(self._text, row[None, : max(2, int(end))]) for row, end in zip(tokens, ends, strict=True)]
        )

    @staticmethod
    def _run(session: Any, row: Tensor) -> np.ndarray:
        found: np.ndarray = session.run([_OUTPUT], {_INPUT: row.numpy()})[0]
        return found


def int8_towers(model: nn.Module, arch: str, digest: str, pixels: Tensor, tokens: Tensor) -> Int8Towers:
    """Return the int8 towers of `model`, from the cache or made now.

    `arch` and `digest` (SHA-256 of the weights) name the model; `pixels` (1, 3, height, width) and `tokens`
    (1, length) are one input of each tower. Raises `BadInput` in one line where a package is missing, the model
    cannot be exported, or a cached file is damaged.
    """
    causal = CausalText.fits(model)
    key = _key(arch, digest, tuple(pixels.shape), tuple(tokens.shape))
    paths = [cache_folder() / f"{key}-{tower}.onnx" for tower in ("picture", "text")]
    if not all(path.is_file() for path in paths):
        _check_packages()
        model = model.eval().requires_grad_(False)
        _make(_Tower(model, "encode_image"), pixels, None, paths[0], arch)
        if causal:  # the example must be shorter than the longest, or its length would be taken for fixed
            lengths = ({1: torch.export.Dim("length", min=2, max=tokens.shape[1])},)
            _make(CausalText(model), tokens[:, : tokens.shape[1] // 2], lengths, paths[1], arch)
        else:
            _make(_Tower(model, "encode_text"), tokens, None, paths[1], arch)
    return Int8Towers(paths[0], paths[1], causal)


class _Tower(nn.Module):
    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, rows: Tensor) -> Tensor:
        features: Tensor = getattr(self.model, self.method)(rows)
        return features


def _key(arch: str, digest: str, *shapes: tuple[int, ...]) -> str:
    """Return 32 hex digits. The exporting packages are left out: who has the file needs none of them."""
    import onnxruntime

    parts = [FORMAT, arch, digest, shapes, torch.__version__, onnxruntime.__version__]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _check_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInput(
            f"precision=int8 is made with {' and '.join(missing)}, not installed here: "
            "pip install 'assay-data[onnx]', or take precision=bf16"
        )


def _make(tower: nn.Module, example: Tensor, shapes: Any, path: Path, arch: str) -> None:
    """Export `tower`, quantise it, and put it at `path` in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
            full, small = Path(folder) / "full.onnx", Path(folder) / "int8.onnx"
            _export(tower, example, shapes, full)
            _quantise(full, small)
            _session(small).run([_OUTPUT], {_INPUT: example.numpy()})  # never keep what cannot run
            with small.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(small, path)
    except OSError as error:
        raise BadInput(f"cannot keep int8 weights in {path.parent}: {error.strerror or first_line(error)}") from error
    except Exception as error:  # torch's exporter and onnx raise many kinds; towers above 2 GB are among the reasons
        raise BadInput(
            f"{arch} cannot be exported for precision=int8, take precision=bf16: {first_line(error)}"
        ) from error


def _export(tower: nn.Module, example: Tensor, shapes: Any, path: Path) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            tower,
            (example,),
            dynamo=True,  # the older exporter fixes the text length, and cannot export attention in evaluation mode
            dynamic_shapes=shapes,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            verbose=False,
        )
        program.save(str(path), external_data=False)


def _quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises every caller, by the root logger, to use another tool first
    try:
        quantize_dynamic(
            source, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8, per_channel=True
        )
    finally:
        logging.disable(before)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # jobs use the cores by running batches beside
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no public base
        raise BadInput(f"{path} is damaged; delete it and it will be made again: {first_line(error)}") from error
