"""Licences as other formats name them: SPDX identifiers where one is certain, else what was written."""

from __future__ import annotations

import re

_CC = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/licenses/(by(?:-nc)?(?:-nd|-sa)?)/(1\.0|2\.0|2\.5|3\.0|4\.0)/?(?:deed|legalcode)?\Z",
    re.I,
)
_CC0 = re.compile(r"https?://(?:www\.)?creativecommons\.org/publicdomain/zero/1\.0/?(?:deed|legalcode)?\Z", re.I)
_SPDX_URL = re.compile(r"https://spdx\.org/licenses/([A-Za-z0-9.+-]{1,60}?)(?:\.html)?\Z")
_CC_VERSIONS = ("1.0", "2.0", "2.5", "3.0", "4.0")
#: Identifiers of the SPDX licence list that datasets use; another text is a name and no identifier.
KNOWN = frozenset(
    {f"CC-BY{kind}-{v}" for kind in ("", "-NC", "-ND", "-SA", "-NC-ND", "-NC-SA") for v in _CC_VERSIONS}
    | {"CC0-1.0", "PDDL-1.0", "ODbL-1.0", "ODC-By-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"}
    | {"CDLA-Sharing-1.0", "Apache-2.0", "MIT", "BSD-3-Clause", "OGL-UK-3.0"}
)


def spdx_id(licence: str) -> str | None:
    """Return the SPDX identifier of a licence that is written as one, or as the address of one; None else.

    `Public domain` statements have none: a certificate or mark is not CC0.
    """
    text = licence.strip()
    if _CC0.match(text):
        return "CC0-1.0"
    if found := _CC.match(text):
        text = f"CC-{found[1].upper()}-{found[2]}"
    elif found := _SPDX_URL.match(text):
        text = found[1]
    return text if text in KNOWN else None


def web_address(text: str) -> bool:
    """Tell whether `text` is a plain http or https address that may stand where a format wants a URL."""
    return bool(re.match(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[!$%&'()*+,;=:@/?#\w.~-]*)?\Z", text, re.ASCII))
