"""The page that shows the picture, read once for all channels that have statements in HTML."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice

from filters.optout.base import Document, Evidence, Fetched, Headers, header_values
from filters.optout.html_tags import Tag, decoded_page, tags

#: Elements of one page that are kept.
_MAX_TAGS = 5000


@lru_cache(maxsize=16)
def _read(body: bytes, content_type: str) -> tuple[Tag, ...]:
    kept = (tag for tag in tags(decoded_page(body, content_type)) if _may_matter(tag))
    return tuple(islice(kept, _MAX_TAGS))


def _may_matter(tag: Tag) -> bool:
    if tag.name == "meta":
        return bool(tag.get("name") or tag.get("http-equiv"))
    return "rsl" in tag.get("type").lower() or "license" in tag.get("rel").lower()


def page_tags(page: Document | None, headers: Headers = ()) -> tuple[Tag, ...]:
    """Return the meta, link and script elements of a found page; nothing without one."""
    if page is None or page.state is not Fetched.FOUND:
        return ()
    return _read(page.body, " ".join(header_values(headers, "content-type"))[:200])


def evidence_tags(evidence: Evidence) -> tuple[Tag, ...]:
    """Return the elements of the evidence's page."""
    return page_tags(evidence.page, evidence.page_headers)
