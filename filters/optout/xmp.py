"""XMP packets as statements: which property, in which namespace, with which value.

RDF allows one value to be written in many ways (attribute, element, rdf:resource, rdf:value, items of a list);
all of them come out alike. Prefixes mean nothing, namespaces everything. Entities, document types, deep
nesting and floods of elements are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
DCTERMS = "http://purl.org/dc/terms/"
XMP_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"

_META = "adobe:ns:meta/"
_XML = "http://www.w3.org/XML/1998/namespace"

#: Elements and attributes of one packet, and how deep they may stand in each other.
MAX_NODES = 50_000
MAX_DEPTH = 64
#: Characters of one value that are kept.
MAX_VALUE = 8192


class UnreadableXmp(ValueError):
    """The packet is no well-formed XML, or breaks a limit; the message says which."""


class Statement(NamedTuple):
    """One value of one property. `top` tells that it is about the picture itself, not about a part of a structure."""

    namespace: str
    name: str
    value: str
    top: bool


@dataclass(slots=True)
class _Frame:
    """An open element: the property that its text belongs to (None outside of any) and the text so far.

    `describes`: its attributes and children are about the picture. `opens`: it is a property, no syntax of RDF.
    `found`: a value was found in it.
    """

    property: tuple[str, str] | None
    top: bool
    describes: bool
    opens: bool = False
    text: str = ""
    found: bool = False


class _Collector:
    """Receives the parser's events and collects statements."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.statements: list[Statement] = []
        self._open = [_Frame(None, False, False)]
        self._nodes = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Open an element: RDF's own carry values for the property around them, all others are properties."""
        self._nodes += 1 + len(attributes)
        if self._nodes > self._most:
            raise UnreadableXmp(f"more than {self._most} elements and attributes")
        if len(self._open) > MAX_DEPTH:
            raise UnreadableXmp(f"elements nested more than {MAX_DEPTH} deep")
        outer, (namespace, name) = self._open[-1], _split(tag)
        if namespace == RDF:
            # A description outside of every property is about the picture.
            frame = _Frame(outer.property, outer.top, name == "Description" and outer.property is None)
        elif namespace == _META:
            frame = _Frame(outer.property, outer.top, False)
        else:
            frame = _Frame((namespace, name), outer.describes, False, opens=True)
        self._open.append(frame)
        for key, value in attributes.items():
            self._attribute(frame, *_split(key), value)

    def _attribute(self, frame: _Frame, namespace: str, name: str, value: str) -> None:
        if namespace in (RDF, ""):
            # Before 2004 RDF's own attributes could stand without their namespace.
            if frame.property and value and name in ("resource", "value", "about"):
                self._add(frame.property, value, frame.top)
                frame.found = True
        elif namespace not in (_XML, _META):
            self._add((namespace, name), value, frame.describes)

    def data(self, text: str) -> None:
        """Keep the text of the element that is open, as much of it as a value may have."""
        frame = self._open[-1]
        if frame.property and len(frame.text) < MAX_VALUE:
            frame.text += text

    def end(self, tag: str) -> None:
        """Close an element: its own text is a value of the property that it belongs to."""
        frame = self._open.pop()
        if frame.property is None:
            return
        text = frame.text.strip()
        if text or (frame.opens and not frame.found):
            self._add(frame.property, text, frame.top)
            frame.found = True
        if frame.found:
            self._open[-1].found = True

    def close(self) -> None:
        """End of the document (called by the parser)."""

    def _add(self, key: tuple[str, str], value: str, top: bool) -> None:
        self.statements.append(Statement(key[0], key[1], value.strip()[:MAX_VALUE], top))


def _split(tag: str) -> tuple[str, str]:
    """Return namespace and local name of `{namespace}name`."""
    return _cached_split(tag) if len(tag) <= MAX_CACHED_NAME else _split_now(tag)


def _split_now(tag: str) -> tuple[str, str]:
    namespace, closed, name = tag[1:].rpartition("}") if tag.startswith("{") else ("", "", tag)
    return (namespace, name) if closed else ("", tag)


#: The same few names come in every packet; long ones are hostile and are not kept.
MAX_CACHED_NAME = 200
_cached_split = lru_cache(maxsize=1024)(_split_now)


def parse_xmp(packet: bytes, most: int = MAX_NODES) -> tuple[Statement, ...]:
    """Return the packet's statements in document order.

    Raises `UnreadableXmp`, and nothing else for any bytes; also for more than `most` elements and attributes.
    """
    body = packet if packet.startswith((b"\xff\xfe", b"\xfe\xff")) else packet.strip(b"\0 \t\r\n")
    if not body:
        return ()
    collector = _Collector(most)
    try:
        parser = DefusedXMLParser(target=collector, forbid_dtd=True)
        parser.feed(body)
        parser.close()
    except ParseError as error:
        raise UnreadableXmp(f"not well-formed XML: {error}") from None
    except DefusedXmlException as error:
        raise UnreadableXmp(f"refused XML: {type(error).__name__}") from None
    except (UnreadableXmp, LookupError, ValueError) as error:
        raise UnreadableXmp(str(error)[:200]) from None
    return tuple(collector.statements)
