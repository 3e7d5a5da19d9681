"""A corpus of broken files made from a seed: the same bytes on every machine, none of them in the repository."""

import io
import random
import struct
import tarfile

import numpy as np
from PIL import Image, features

#: Pictures are cheap; the count is the least that the whole corpus has.
PICTURES = 5000

#: MiB that a process may take over any of this; SECURITY.md states it. A job over the 5,000 pictures took 456 when
#: measured; a scorer with a large model takes some hundreds more, a picture of the limit's size 12 a copy.
MEMORY = 1500


def seeds():
    """Sound files of every format and of many kinds, by suffix."""
    values = np.random.default_rng(11).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    values[8:30, 10:40] //= 4
    colour, alpha = Image.fromarray(values[..., :3]), Image.fromarray(values, "RGBA")
    deep = Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8298] = "somebody"
    found = [
        ("png", _saved(colour, "PNG")), ("png", _saved(alpha, "PNG")), ("png", _saved(deep, "PNG")),
        ("png", _saved(colour.quantize(16), "PNG", transparency=b"\0\x80")), ("png", _saved(colour, "PNG", exif=exif)),
        ("jpg", _saved(colour, "JPEG", exif=exif)), ("jpg", _saved(colour, "JPEG", progressive=True)),
        ("jpg", _saved(colour.convert("CMYK"), "JPEG")), ("jpg", _saved(colour, "JPEG", icc_profile=b"p" * 200)),
        ("webp", _saved(colour, "WEBP", exif=exif)), ("webp", _saved(alpha, "WEBP", lossless=True)),
        ("webp", _saved(colour, "WEBP", save_all=True, append_images=[alpha.convert("RGB")])),
        ("gif", _saved(colour, "GIF")), ("gif", _saved(colour, "GIF", save_all=True, append_images=[alpha])),
        ("bmp", _saved(colour, "BMP")),
    ]  # fmt: skip
    kinds = ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")
    found += [("tif", _saved(colour, "TIFF", compression=kind, exif=exif)) for kind in kinds]
    if features.check("avif"):
        found += [("avif", _saved(colour, "AVIF", exif=exif)), ("avif", _saved(alpha, "AVIF"))]
    return found


def _saved(image, kind, **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def pictures(count=PICTURES, seed=10):
    """`count` mutated files as (suffix, bytes); some mutations leave the picture sound."""
    draw, sound = random.Random(seed), seeds()
    for number in range(count):
        suffix, data = sound[number % len(sound)]
        for _ in range(draw.choice((1, 1, 2, 4))):
            data = draw.choice(_MUTATIONS)(draw, data, sound)
        yield suffix, data


def _flipped(draw, data, sound):
    changed = bytearray(data)
    for _ in range(draw.choice((1, 3, 30))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _front(draw, data, sound):
    """Headers hold sizes, offsets and counts: that is where parsers break."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 6))):
        if changed:
            changed[draw.randrange(min(len(changed), 80))] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
    return bytes(changed)


def _number(draw, data, sound):
    """A number of four bytes somewhere becomes an extreme one."""
    value = draw.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 65535, draw.getrandbits(32)))
    place = draw.randrange(max(1, min(len(data), draw.choice((64, 400, 10**6)))))
    return data[:place] + struct.pack(draw.choice(("<I", ">I")), value) + data[place + 4 :]


def _cut(draw, data, sound):
    return data[: draw.randrange(len(data) + 1)]


def _doubled(draw, data, sound):
    if not data:
        return data
    start = draw.randrange(len(data))
    piece = data[start : start + draw.randrange(1, 400)]
    return data[:start] + piece * draw.choice((2, 3, 200)) + data[start:]


def _taken(draw, data, sound):
    start = draw.randrange(len(data) + 1)
    return data[:start] + data[start + draw.randrange(1, 200) :]


def _spliced(draw, data, sound):
    """The head of one file and the tail of another."""
    other = draw.choice(sound)[1]
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other)) :]


def _followed(draw, data, sound):
    return data + draw.choice((draw.randbytes(2000), bytes(5000), data, b"<?xpacket begin" + b"<a>" * 3000))


_MUTATIONS = (_flipped, _flipped, _front, _front, _number, _number, _cut, _doubled, _taken, _spliced, _followed)

#: Captions that break what reads them, as bytes; not all are UTF-8.
CAPTIONS = {
    "megabyte": b"word " * 209_716,
    "one-word": b"x" * 1_000_000,
    "nul": b"a picture\0 of a thing",
    "only-nul": b"\0" * 50,
    "right-to-left": "‮gnp.exe‬ a شجرة ‏ של".encode(),
    "invalid": b"caf\xe9 \xff\xfe terrasse \xc0\xaf",
    "surrogate": b"a \xed\xa0\x80 lone one",
    "controls": bytes(range(32)) + b" and a caption \x1b[2J\x1b]0;title\x07\x9b31m",
    "combining": ("e" + "\u0301" * 5000).encode(),
    "newlines": b"\r\n\x85\n\x0b\x0c a\r\r\n" * 400,
    "bom": b"\xef\xbb\xbf\xef\xbb\xbfa caption",
    "wide": "𓀀😀﷽\U0010ffff\ufffe\uffff".encode() * 30,
    "formula": b"=cmd|' /C calc'!A0",
    "markup": b"<script>alert(1)</script>{{7*7}}%s%n$(id)`id`;DROP TABLE samples;--",
    "utf-16": "a caption".encode("utf-16"),
}

#: The same for a record's JSON.
METADATA = {
    "deep": b"[" * 100_000,
    "deep-object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "big-number": b'{"n": ' + b"9" * 20_000 + b"}",
    "not-a-number": b'{"a": NaN, "b": Infinity, "c": 1e999}',
    "surrogates": b'{"creator": "\\ud800", "url": "http://\\udfff.example/\\u0000", "page_url": "http://[::"}',
    "wrong-types": b'{"creator": [1, {"a": null}], "url": 7, "licence": {"x": []}, "caption": false}',
    "doubled-keys": b'{"creator": "a", "creator": "b"}',
    "invalid": b'{"creator": "\xff\xfe"}',
    "huge-url": b'{"url": "http://a/' + b"a/" * 40_000 + b'"}',
    "list": b"[1, 2]",
    "null": b"null",
}


def words(count, seed=13):
    """`count` mutated pairs of a caption and a record's JSON, both of at most some 20 kB."""
    draw = random.Random(seed)
    plain = [b"a red balloon over the sea", "ein Bär läuft über die Straße".encode(), "赤い風船".encode()]
    captions = [value for value in [*CAPTIONS.values(), *plain * 5] if len(value) <= 20_000]
    records = [
        b'{"creator": "somebody", "licence": "CC0", "url": "http://a.example/b.png", "tags": ["a", {"b": 1}]}'
    ] * 9
    records += [value for value in METADATA.values() if len(value) <= 20_000]
    for _ in range(count):
        pair = [draw.choice(captions), draw.choice(records)]
        for which in draw.choice(((0,), (1,), (0, 1))):
            for _ in range(draw.choice((1, 1, 3))):
                pair[which] = draw.choice(_MUTATIONS)(draw, pair[which], [("", draw.choice((*captions, *records)))])
        yield tuple(pair)


def member(name, data=b"", kind=tarfile.REGTYPE, **fields):
    """One tar member as bytes, header and padded content."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


END = bytes(1024)


def tars(picture, count=400, seed=12):
    """Tars as (name, bytes): the known tricks first, then `count` mutations of a sound one."""
    good = [member(f"s{i}.png", picture) + member(f"s{i}.txt", b"a caption %d" % i) for i in range(3)]
    whole = b"".join(good) + END
    yield "absolute", member("/tmp/assay-outside.png", picture) + good[0] + END
    yield "upwards", member("../../../assay-outside.png", picture) + member("a/../../b.txt", b"x") + good[0] + END
    yield "links", (
        member("l.png", kind=tarfile.SYMTYPE, linkname="/etc/passwd") + member("l.txt", b"a link")
        + member("h.png", kind=tarfile.LNKTYPE, linkname="../../etc/shadow") + good[0] + END
    )  # fmt: skip
    yield "loop", member("a.png", kind=tarfile.LNKTYPE, linkname="a.png") + good[0] + END
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z")
    yield "devices", b"".join(member(f"d{i}.png", kind=kind) for i, kind in enumerate(kinds)) + good[0] + END
    yield "doubled", good[0] * 5 + END
    yield "long-names", member("a" * 5000 + ".png", picture) + member("b/" * 3000 + "c.png", picture) + END
    yield (
        "odd-names",
        b"".join(member(n, picture) for n in (".png", "..png", " .png", "a\nb.png", "\x1b[2J.png")) + END,
    )
    yield "bytes-in-name", member("ok.png", picture).replace(b"ok.png", b"\xff\xfe.p\xe9") + good[0] + END
    yield "sparse", member("s.png", picture, kind=tarfile.GNUTYPE_SPARSE) + good[0] + END
    yield (
        "pax",
        member("p", b"28 path=../../assay-outside\n30 GNU.sparse.size=99999999999\n", kind=tarfile.XHDTYPE) + whole,
    )
    yield "pax-length", member("p", b"999999999 path=a\n", kind=tarfile.XHDTYPE) + whole
    yield "pax-many", member("p", b"6 a=b\n" * 100_000, kind=tarfile.XHDTYPE) + whole
    yield "endless-pax", member("p", b"9 path=a\n", kind=tarfile.XHDTYPE) * 3000
    yield "endless-long-name", member("n", b"a" * 500, kind=tarfile.GNUTYPE_LONGNAME) * 3000
    for name, size in (("huge", 0o77777777777), ("base-256", 1 << 62), ("negative", -512), ("little-negative", -1)):
        yield f"{name}-size", member("s0.png", picture, size=size) + END
        yield f"{name}-size-later", whole[:-1024] + member("s9.png", picture, size=size) + END
    yield "negative-size-by-pax", member("p", b"14 size=-1536\n", kind=tarfile.XHDTYPE) + whole
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        yield f"long-header-{kind.decode()}", good[0] + member("n", b"a", kind=kind, size=1 << 45) + good[1] + END
    yield "no-end", good[0]
    yield "empty", b""
    yield "zeros", bytes(100_000)
    yield "after-end", whole + good[1]
    yield "many-empty", b"".join(member(f"e{i}.png") for i in range(3000)) + END
    draw = random.Random(seed)
    for number in range(count):
        data = whole
        for _ in range(draw.choice((1, 2, 5))):
            data = draw.choice(_MUTATIONS)(draw, data, [("tar", whole)])
        yield f"mutated-{number:04d}", data
