"""The few elements of a hostile HTML page that can hold rights statements, found in linear time.

A statement in a comment, a script, a style or the value of another attribute is none, so the scanner follows HTML's
own tokenizer (whatwg §13.2.5) far enough to tell them apart. The standard library's parser is quadratic on pages
that open constructs and never close them, in several of the Python versions that Assay runs on.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Octets of a page that are read.
MAX_BYTES = 1024 * 1024
#: Longest attribute value that is kept, and most attributes of one tag.
MAX_VALUE = 16_384
MAX_ATTRIBUTES = 64

_OPEN = re.compile(r"<(?:(!--)|([!?/][^>]*)|([A-Za-z][^\s/>]*))")
_COMMENT_END = re.compile(r"--!?>")
_ATTRIBUTE = re.compile(r"[\s/]*([^\s/>=]*)")
_EQUALS = re.compile(r"\s*=\s*")
_BARE = re.compile(r"[^\s>]*")
_SKIPPED = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
_CLOSERS = {name: re.compile(rf"</{name}(?=[\s/>]|$)", re.IGNORECASE) for name in _SKIPPED}
_WANTED = frozenset({"meta", "link", "script"})
#: Void of rights statements, but they may stand in the head.
_HEAD = frozenset({"html", "head", "title", "base", "link", "meta", "style", "script", "noscript", "template"})


@dataclass(frozen=True)
class Tag:
    """A meta, link or script element: lower-case attribute names, text of a script, whether it is in the head."""

    name: str
    attributes: dict[str, str]
    text: str
    in_head: bool

    def get(self, name: str) -> str:
        """Return an attribute's value, stripped; empty where there is none."""
        return self.attributes.get(name, "").strip()


def decoded_page(body: bytes, content_type: str = "") -> str:
    """Return a page's text. Names and values of statements are ASCII, so only UTF-16 needs to be told apart."""
    body = body[:MAX_BYTES]
    declared = "utf-16" in content_type.lower()
    if declared or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        little = "utf-16-le" if declared and body[:2] not in (b"\xff\xfe", b"\xfe\xff") else "utf-16"
        return body.decode(little, "replace")
    if b"\0" in body[:64]:  # UTF-16 that does not say so
        body = body.replace(b"\0", b"")
    return body.decode("utf-8", "replace")


def tags(page: str) -> Iterator[Tag]:
    """Yield the meta, link and script elements of a page in order."""
    at, in_head = 0, True
    while True:
        opened = _OPEN.search(page, at)
        if opened is None:
            return
        comment, _markup, name = opened.groups()
        if comment:
            at = _after_comment(page, opened.end())
            continue
        if name is None:
            at = opened.end()
            continue
        name = name.lower()
        attributes, at = _attributes(page, opened.end())
        in_head = in_head and name in _HEAD
        text = ""
        if name in _SKIPPED:
            closer = _CLOSERS[name].search(page, at)
            end = closer.start() if closer else len(page)
            text, at = page[at:end], end
        elif name == "plaintext":
            return
        if name in _WANTED:
            yield Tag(name, attributes, text, in_head)


def _after_comment(page: str, at: int) -> int:
    """Return where a comment ends; `<!-->` and `<!--->` are whole ones, an open one ends with the page."""
    for short in (">", "->"):
        if page.startswith(short, at):
            return at + len(short)
    closed = _COMMENT_END.search(page, at)
    return closed.end() if closed else len(page)


def _attributes(page: str, at: int) -> tuple[dict[str, str], int]:
    """Return a tag's attributes, the first of equal names (as browsers do), and where the tag ends."""
    found: dict[str, str] = {}
    size = len(page)
    while True:
        name = _ATTRIBUTE.match(page, at)
        at = name.end() if name else size
        if at >= size:
            return {}, size  # a tag that never ends is none
        if page[at] == ">":
            if name and name.group(1):
                found.setdefault(name.group(1).lower(), "")
            return found, at + 1
        value = ""
        equals = _EQUALS.match(page, at)
        if equals is not None:
            value, at = _value(page, equals.end())
            if at < 0:
                return {}, size
        if name and name.group(1) and len(found) < MAX_ATTRIBUTES:
            found.setdefault(name.group(1).lower(), html.unescape(value[:MAX_VALUE]))


def _value(page: str, at: int) -> tuple[str, int]:
    """Return an attribute's value and where it ends; -1 where its quote is never closed."""
    quote = page[at : at + 1]
    if quote in ("'", '"'):
        end = page.find(quote, at + 1)
        return (page[at + 1 : end], end + 1) if end >= 0 else ("", -1)
    bare = _BARE.match(page, at)
    return (bare.group(), bare.end()) if bare else ("", at)
