"""Make `import torchvision` work beside a torch build that its compiled operators do not match.

The torchvision wheel of the package registries is built against CUDA. Beside a CPU build of torch its operator
library does not load, and the import then fails while it gives shapes to operators that nobody registered. Declaring
those operators (without an implementation) lets the import pass; transforms, open_clip and timm need no more.
"""

from __future__ import annotations

import importlib
import sys

import torch

#: The operators that torchvision gives shapes to at import, both with this signature.
_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

#: torch forgets a declaration when its library object is collected, so it is kept here.
_declarations: list[torch.library.Library] = []


def ensure_torchvision() -> str:
    """Import torchvision, with its operators declared where its own library cannot load.

    Call it before any import of open_clip, timm or torchvision, in worker processes too. Returns `native` where
    the plain import works and `declared` where the operators had to be declared; in the latter case
    `torchvision.ops.nms` and torchvision's own image codecs do not work. Raises what the import raises where the
    reason is another one.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        # Try first: beside a matching torch a second declaration of the same operators would be an error.
        if "torchvision::" not in str(error) or _declarations:
            raise
    else:
        return "declared" if _declarations else "native"
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # the half-imported modules of the failed attempt
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in _OPERATORS:
        library.define(operator + _SIGNATURE)  # type: ignore[no-untyped-call]
    _declarations.append(library)
    importlib.import_module("torchvision")
    return "declared"
