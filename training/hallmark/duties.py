"""Marks that laws and platforms ask for beside credential and watermark: XMP fields and a label that people see."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from filters.errors import BadInput
from training.hallmark.claim import SOURCE_TYPES, SourceType

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_TC260 = "http://www.tc260.org.cn/ns/AIGC/1.0/"

#: Least height of a label's letters over the picture's shorter side. Source: GB 45438-2025, explicit labels.
LABEL_SHARE = 0.05

_FONT_LIMIT = 4


@dataclass(frozen=True)
class Tc260:
    """China's implicit label (GB 45438-2025): who made the content, and whether it is synthetic.

    `label`: "1" is, "2" may be, "3" is suspected to be generated. The content's number is the picture's id.
    """

    producer: str
    label: Literal["1", "2", "3"] = "1"


@dataclass(frozen=True)
class VisibleLabel:
    """A text in the lower right corner. `font`: a file that holds its characters, else Pillow's, which is Latin."""

    text: str = "AI generated"
    font: Path | None = None


def xmp_packet(identity: str, source_type: SourceType, tc260: Tc260 | None) -> bytes:
    """Return an XMP packet: IPTC's digital source type, the one that the credential names; TC260's field if asked.

    It is written before signing, so that the credential's hash covers it.
    """
    fields = [f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPES}{source_type}</Iptc4xmpExt:DigitalSourceType>"]
    if tc260 is not None:
        fields.append(f"<TC260:AIGC>{escape(_tc260_json(identity, tc260))}</TC260:AIGC>")
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt={quoteattr(_IPTC)} xmlns:TC260={quoteattr(_TC260)}>'
        f"{''.join(fields)}</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    ).encode()


def _tc260_json(identity: str, tc260: Tc260) -> str:
    """Return the label's JSON; whoever spreads the picture fills in the propagator's fields."""
    return json.dumps(
        {
            "Label": tc260.label,
            "ContentProducer": tc260.producer,
            "ProduceID": identity,
            "ReservedCode1": "",
            "ContentPropagator": "",
            "PropagateID": "",
            "ReservedCode2": "",
        },
        ensure_ascii=False,
    )


def labelled(pixels: np.ndarray, label: VisibleLabel) -> np.ndarray:
    """Return a copy of uint8 (h, w, 3) with the label, whose letters have 5 % of the shorter side's height or more.

    Raises `BadInput` where the text does not fit, or the font lacks its characters.
    """
    height, width = pixels.shape[:2]
    least = max(1, int(np.ceil(LABEL_SHARE * min(height, width))))
    font, box = _font(label, least)
    text_width, text_height = box[2] - box[0], box[3] - box[1]
    margin = max(2, least // 2)
    if text_width + 2 * margin > width or text_height + 2 * margin > height:
        raise BadInput(
            f"the label {label.text!r} does not fit on a picture of {width} x {height}; take a shorter text"
        )
    image = Image.fromarray(pixels)
    left, top = width - text_width - 2 * margin, height - text_height - 2 * margin
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, width, height), fill=(0, 0, 0))
    draw.text((left + margin - box[0], top + margin - box[1]), label.text, font=font, fill=(255, 255, 255))
    return np.asarray(image)


def _font(label: VisibleLabel, least: int) -> tuple[ImageFont.FreeTypeFont, tuple[int, int, int, int]]:
    """Return the smallest font whose capital letters are `least` pixels high, and the text's box in it."""
    if not label.text.strip():
        raise BadInput("the visible label has no text")
    if label.font is None and not label.text.isascii():
        raise BadInput(f"the label {label.text!r} needs a font file that holds its characters: VisibleLabel(font=...)")
    for size in range(least, _FONT_LIMIT * least + 8):
        try:
            font = ImageFont.load_default(size) if label.font is None else ImageFont.truetype(label.font, size)
        except OSError:
            raise BadInput(f"{label.font}: no font that can be read") from None
        assert isinstance(font, ImageFont.FreeTypeFont)
        # The letters themselves, not the box around descenders.
        sample = font.getbbox("A" if label.text.isascii() else label.text)
        if sample[3] - sample[1] >= least:
            left, top, right, bottom = font.getbbox(label.text)
            return font, (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
    raise BadInput(f"{label.font or 'the font'}: its letters are too small for {label.text!r}")
