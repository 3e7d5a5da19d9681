"""The heads that are known: where their weights are published, what they must hash to, which encoder they belong to.

A head was fitted on the embeddings of one encoder with one set of weights and says nothing about any other, not even
of the same architecture: LAION's heads belong to OpenAI's CLIP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from filters.encoders.uri import parse_uri
from filters.errors import BadInput

Column = Literal["aesthetic", "nsfw_clip"]


@dataclass(frozen=True)
class Head:
    """One head. `widths` are the values before and after each linear layer, the embedding's dimension first.

    `architectures` are open_clip's names of the one encoder (with and without its activation spelt out), always with
    OpenAI's weights. `sha256` is of the file at `url`, `weights` of its tensors (`filters.heads.weights.digest`), so
    that the same weights are known in another kind of file. `lookups` are inputs that the head ignores.
    """

    name: str
    column: Column
    widths: tuple[int, ...]
    architectures: tuple[str, ...]
    url: str
    sha256: str
    weights: str
    licence: str
    lookups: tuple[int, ...] = ()


_GITHUB = "https://raw.githubusercontent.com"
_V1 = f"{_GITHUB}/LAION-AI/aesthetic-predictor/6d122adad522ab246644d9dc1c6d7a3810ee255f"
_V2 = f"{_GITHUB}/christophschuhmann/improved-aesthetic-predictor/6934dd81792f086e613a121dbce43082cb8be85e"
_NSFW = f"{_GITHUB}/LAION-AI/CLIP-based-NSFW-Detector/d6bb8fe31fd4aecbfed7dfb62df4fe5858bfc014"
_B32, _B16, _L14 = (
    ("ViT-B-32-quickgelu", "ViT-B-32"),
    ("ViT-B-16-quickgelu", "ViT-B-16"),
    ("ViT-L-14-quickgelu", "ViT-L-14"),
)

#: Per column and encoder the first is taken where the recipe names none.
_ALL = (
    # V2: five linear layers without activations between, fitted on SAC, AVA and a set of logos; it is what
    # LAION-Aesthetics V2 was selected with (https://laion.ai/blog/laion-aesthetics/).
    Head(
        "laion-v2-l14",
        "aesthetic",
        (768, 1024, 128, 64, 16, 1),
        _L14,
        f"{_V2}/sac%2Blogos%2Bava1-l14-linearMSE.pth",
        "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
        "0fe489c9156fb5a53872abef9a2631f1996e1adf8814f9fa1d46f6c3daff1e90",
        "Apache-2.0",
    ),
    Head(
        "laion-v2-ava-l14",
        "aesthetic",
        (768, 1024, 128, 64, 16, 1),
        _L14,
        f"{_V2}/ava%2Blogos-l14-linearMSE.pth",
        "390a3aafaf3b37d57148f9b22f30556de38343064b7d915acfa80d3812b4c9ff",
        "cc4fcdbef9b7cd3459d2faff4ee56943e9f854463f33dfbf7591114ace17efff",
        "Apache-2.0",
    ),
    # V1: one linear layer, fitted on 5,000 pictures of SAC (ratings 1 to 10).
    Head(
        "laion-v1-l14",
        "aesthetic",
        (768, 1),
        _L14,
        f"{_V1}/sa_0_4_vit_l_14_linear.pth",
        "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
        "d1c1027f2f07db598fa1a71c34ae5399e25bd76ef83163225e59a97954c3e5e9",
        "MIT",
    ),
    Head(
        "laion-v1-b16",
        "aesthetic",
        (512, 1),
        _B16,
        f"{_V1}/sa_0_4_vit_b_16_linear.pth",
        "8ad3923d7ecf019df20ecd2ab5542a3075fbba0278d239c0371345f3d7fcbde0",
        "58e455d196fe12d02ebf2d0eab9ae71c271ffc78bc4cf257e7fc592afef044b0",
        "MIT",
    ),
    Head(
        "laion-v1-b32",
        "aesthetic",
        (512, 1),
        _B32,
        f"{_V1}/sa_0_4_vit_b_32_linear.pth",
        "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
        "19f26aa205ae087e61b1c70d017db65a48963439bc9efbc6a54ca7ebd21f8f7d",
        "MIT",
    ),
    # NSFW: an AutoKeras model. It read a few embedding columns as categories, through a table of strings that no
    # embedding is in; a zero there gives TensorFlow's results.
    Head(
        "laion-nsfw-l14",
        "nsfw_clip",
        (768, 64, 512, 256, 1),
        _L14,
        f"{_NSFW}/clip_autokeras_binary_nsfw.zip",
        "905520bb0336accc73ee282c605d926aef90cf14248889d44b9cee50eef71f8a",
        "dba3d3e14ac06c0a9533083eba2e620ddd5c991b6b8f83fb795a414bb90f3f5a",
        "MIT",
        (180, 316, 413, 440, 644),
    ),
    Head(
        "laion-nsfw-b32",
        "nsfw_clip",
        (512, 32, 32, 1),
        _B32,
        f"{_NSFW}/clip_autokeras_nsfw_b32.zip",
        "78715ab9d64485167e8c9ade3b8e6761a17a16c24d114bd47431ac1dab46462b",
        "480a4d2aac5503adf097ccc180ec3009bcc66f5608c723c6886671fca5129b74",
        "MIT",
        (92, 133, 312),
    ),
)

HEADS = {head.name: head for head in _ALL}


def head_for(column: Column, encoder: str, name: str = "") -> Head:
    """Return the head `name` (empty: the encoder's first) of `column` for the model URI `encoder`.

    Raises `BadInput` where there is no such head, or where it belongs to another encoder. An encoder from a file
    counts as OpenAI's when its URI says so (`&tag=openai`).
    """
    if name and (name not in HEADS or HEADS[name].column != column):
        known = ", ".join(head.name for head in _ALL if head.column == column)
        raise BadInput(f"there is no {column} head {name!r}; known: {known}")
    uri = parse_uri(encoder)
    fitting = [
        head for head in _ALL if head.column == column and uri.arch in head.architectures and uri.tag == "openai"
    ]
    if name:
        if HEADS[name] not in fitting:
            needed = f"open-clip:{HEADS[name].architectures[0]}/openai"
            raise BadInput(f"the head {name} reads embeddings of {needed} alone, not of {encoder}")
        return HEADS[name]
    if not fitting:
        encoders = sorted({f"open-clip:{head.architectures[0]}/openai" for head in _ALL if head.column == column})
        raise BadInput(
            f"no {column} head reads embeddings of {encoder}; use one of {', '.join(encoders)}, or leave {column} out"
        )
    return fitting[0]
