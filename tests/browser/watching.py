"""A page that is watched: console, failed requests, requests to other origins; and accessibility by axe-core."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

AXE = Path(__file__).parent / "vendor" / "axe.min.js"

#: What a browser shows without asking any host.
_LOCAL = ("data:", "blob:", "about:")


@dataclass
class Watch:
    """What went wrong on a page, one line each. `expected`: statuses that a test asks for on purpose."""

    origin: str
    expected: tuple[int, ...] = ()
    wrong: list[str] = field(default_factory=list)
    requests: int = 0

    def attach(self, page):
        """Listen to `page` from now on."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)
        page.on("dialog", self._dialog)
        return page

    def _console(self, message):
        refused = any(f"status of {status}" in message.text for status in self.expected)
        if message.type in ("error", "warning") and not refused:
            self.wrong.append(f"console {message.type}: {message.text}")

    def _request(self, request):
        self.requests += 1
        if not request.url.startswith((self.origin + "/", *_LOCAL)):
            self.wrong.append(f"asked another origin: {request.url}")

    def _response(self, answer):
        if answer.status >= 400 and answer.status not in self.expected:
            self.wrong.append(f"{answer.status} {answer.url}")

    def _dialog(self, dialog):
        self.wrong.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()


def serious_findings(page):
    """Serious and critical findings of axe-core on the page as it is now, one line each. Needs `bypass_csp`."""
    page.add_script_tag(path=AXE)
    # what is still fading in would be measured in between
    options = {"resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    assert found["testEngine"]["name"] == "axe-core"
    lines = []
    for item in found["violations"]:
        if item["impact"] in ("serious", "critical"):
            for node in item["nodes"][:3]:
                lines.append(f"{item['id']}: {json.dumps(node['target'])} {node['failureSummary'][:300]}")
    return lines


def same_origin_links(page):
    """Addresses (path and query) that the page's links lead to on its own origin."""
    hrefs = page.eval_on_selector_all("a[href]", "items => items.map(item => item.href)")
    here = urlsplit(page.url)
    found = []
    for href in hrefs:
        parts = urlsplit(href)
        if (parts.scheme, parts.netloc) == (here.scheme, here.netloc):
            found.append(parts.path + (f"?{parts.query}" if parts.query else ""))
    return found
