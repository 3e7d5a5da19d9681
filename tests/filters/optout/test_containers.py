"""Where files keep metadata: every place is found, every damage is told, nothing is decoded."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib

import pytest
from metadata_files import (
    EXTENDED_ID,
    PLACES,
    XMP_ID,
    avif,
    chunk,
    extended_segments,
    gif,
    iim,
    itxt,
    jpeg,
    jpeg_extended,
    jpeg_xmp,
    photoshop,
    plain,
    png,
    raw_profile,
    segment,
    tiff,
    webp,
    xmp,
)

from filters.optout.containers import read_container
from filters.optout.embedded import read_embedded
from filters.optout.metadata_blocks import MAX_BLOCK, MAX_FILE_BLOCKS, Kind

PACKET = xmp(attributes='plus:DataMining="V"')


def packets(data):
    return [b for b in read_container(data).blocks if b.kind is Kind.XMP]


@pytest.mark.parametrize("place", PLACES)
def test_the_packet_is_found_in_every_place(place):
    embedded = read_embedded(PLACES[place](PACKET))
    said = [(s.value, p.problem) for p in embedded.packets for s in p.statements if s.name == "DataMining"]
    assert said == [("V", None)]
    assert embedded.doubt is None


def test_the_hash_of_a_packet_is_that_of_its_own_bytes():
    (packet,) = read_embedded(png(itxt(PACKET, packed=True))).packets
    assert packet.sha256 == hashlib.sha256(PACKET).hexdigest()


def test_all_packets_of_a_file_are_returned():
    other = xmp(attributes='plus:DataMining="W"')
    assert [b.data for b in packets(jpeg(segment(0xE1, XMP_ID + PACKET), segment(0xE1, XMP_ID + other)))] == [
        PACKET,
        other,
    ]
    assert len(packets(png(itxt(PACKET), raw_profile(other)))) == 2
    assert len(packets(webp((b"XMP ", PACKET), (b"XMP ", other)))) == 2


def without_piece(packet):
    guid = hashlib.md5(packet).hexdigest()
    main = xmp(attributes=f'n:HasExtendedXMP="{guid.upper()}"', namespaces='xmlns:n="http://ns.adobe.com/xmp/note/"')
    return jpeg(segment(0xE1, XMP_ID + main), *extended_segments(packet, 100)[:-1])


BROKEN = {
    "extended packet missing": lambda: jpeg(jpeg_extended(PACKET)[2:].split(b"\xff\xe1")[1].join([b"\xff\xe1", b""])),
    "piece of the extended packet missing": lambda: without_piece(PACKET),
    "extended packet with another MD5": lambda: jpeg(*extended_segments(PACKET, guid=b"0" * 32)),
    "png cut off in the chunk": lambda: png(itxt(PACKET))[:200],
    "png chunk with a wrong checksum": lambda: png(itxt(PACKET)).replace(b'"V"', b'"W"'),
    "png packet too large": lambda: png(itxt(PACKET + b" " * MAX_BLOCK)),
    "png compressed packet too large": lambda: png(itxt(PACKET + b" " * 3 * MAX_BLOCK, packed=True)),
    "png compressed packet cut off": lambda: png(
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(PACKET)[:60])
    ),
    "png compressed packet is rubbish": lambda: png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0rubbish")),
    "png raw profile is no hexadecimal": lambda: png(chunk(b"tEXt", b"Raw profile type xmp\0\nxmp\n 4\nzzzz")),
    "webp cut off": lambda: webp((b"XMP ", PACKET))[:-60],
    "webp too large": lambda: webp((b"XMP ", PACKET + b" " * MAX_BLOCK)),
    "gif without the trailer": lambda: gif(PACKET)[:-300],
    "tiff cut off": lambda: tiff({0x02BC: PACKET})[:-60],
    "scanned packet without an end": lambda: avif(PACKET[:-60]),
    "jpeg cut off in the packet": lambda: jpeg_xmp(PACKET)[:200],
    "too many packets": lambda: jpeg(*[segment(0xE1, XMP_ID + PACKET)] * (MAX_FILE_BLOCKS + 1)),
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN.keys())
def test_a_packet_that_is_there_and_not_whole_has_a_problem(make):
    embedded = read_embedded(make())
    assert any(packet.problem for packet in embedded.packets)
    assert embedded.doubt


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_without_metadata_has_none(format):
    embedded = read_embedded(plain(format))
    assert (embedded.packets, embedded.texts, embedded.credentials, embedded.doubt) == ((), (), None, None)


def test_a_jpeg_whose_segments_break_off_is_searched_for_packets():
    data = jpeg(segment(0xE1, XMP_ID + PACKET))
    broken = data[:2] + b"\xff\xe0\xff\x00" + data[2:]
    embedded = read_embedded(broken)
    assert [s.value for p in embedded.packets for s in p.statements] == ["V"]
    assert embedded.doubt


def test_copyright_and_maker_of_exif_iptc_and_png_text():
    exif = tiff({0x8298: b"Copyright A\0", 0x013B: b"Maker B\0"}, ">")
    assert texts(jpeg(segment(0xE1, b"Exif\0\0" + exif))) == {"Maker B", "Copyright A"}
    assert texts(webp((b"EXIF", exif))) == {"Maker B", "Copyright A"}
    resources = photoshop(b"x", 1005) + photoshop(iim((1, 90, b"\x1b%G"), (2, 80, b"Maker"), (2, 116, "© C".encode())))
    assert texts(jpeg(segment(0xED, b"Photoshop 3.0\0" + resources))) == {"Maker", "© C"}
    halves = resources[:40], resources[40:]
    assert texts(jpeg(*(segment(0xED, b"Photoshop 3.0\0" + half) for half in halves))) == {"Maker", "© C"}
    assert texts(png(chunk(b"tEXt", b"Copyright\0\xa9 D"), itxt(b"E", keyword=b"Author"))) == {"© D", "E"}
    assert texts(png(raw_profile(resources, "iptc"))) == {"Maker", "© C"}
    assert texts(tiff({0x8298: b"F\0", 0x83BB: iim((2, 116, b"G"))})) == {"F", "G"}


def texts(data):
    return {text.value for text in read_embedded(data).texts}


FLOODS = {
    "png of empty chunks": lambda: png(chunk(b"teXt", b"") * 300_000),
    "png of empty text chunks": lambda: png(chunk(b"tEXt", b"Author\0x") * 100_000),
    "jpeg of empty segments": lambda: jpeg(segment(0xE5, b"") * 300_000),
    "jpeg of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 3_000_000,
    "jpeg of extended pieces": lambda: jpeg(
        *(
            segment(0xE1, EXTENDED_ID + b"%032d" % (n % 9) + struct.pack(">II", 1 << 30, n // 9) + b"x")
            for n in range(60_000)
        )
    ),
    "jpeg of announcements": lambda: jpeg(
        *(
            segment(0xE1, XMP_ID + b" ".join(b'HasExtendedXMP="%032d"' % (n * 1000 + m) for m in range(1000)))
            for n in range(60)
        )
    ),
    "webp of empty chunks": lambda: webp(*[(b"ABCD", b"")] * 300_000),
    "gif of application extensions": lambda: gif(b"!\xff\x0bXMP DataXMP" * 100_000),
    "starts of packets": lambda: b"<?xpacket begin='" * 200_000,
    "starts of packets with RDF": lambda: b"http://www.w3.org/1999/02/22-rdf-syntax-ns#" + b"<x:xmpmeta " * 300_000,
    "tiff whose directory is its own next": lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + bytes(100),
    "tiff of many packets": lambda: (
        b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x02BC, 1, 700_000, 8) * 65535 + bytes(4)
    ),
    "datasets": lambda: jpeg(*[segment(0xED, b"Photoshop 3.0\0" + photoshop(iim(*[(2, 80, b"x")] * 5000)))] * 200),
    "packets of many elements": lambda: png(*[itxt(b"<a>" + b"<b/>" * 49_000 + b"</a>", packed=True)] * 60),
    "zip bomb": lambda: png(*[itxt(b"<a>" + b" " * (4 << 20), packed=True)] * 60),
}


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS.keys())
def test_floods_end_soon(make):
    data = make()
    start = time.process_time()
    read_embedded(data)
    assert time.process_time() - start < 3
