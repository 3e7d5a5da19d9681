"""`<meta name="robots">`, also by a crawler's name, and `<link rel="license">` on the page that shows the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

from filters.optout.base import Evidence, Fetched, Signal, Verdict
from filters.optout.directives import Directive, parse_directives
from filters.optout.html_tags import Tag
from filters.optout.pages import evidence_tags
from filters.optout.readers import Voice
from filters.optout.x_robots import DirectivePolicy

NAME = "meta-robots"
SPEC = "HTML meta robots: noai, noimageai (DeviantArt 2022); noindex, unavailable_after (Google)"
_EVERYONE = ("robots", "*")
_MAX_SIGNALS = 50


@dataclass(frozen=True)
class MetaRobotsChannel:
    """Reads the page's meta elements by `policy`; licence links are recorded and decide nothing here."""

    policy: DirectivePolicy = field(default_factory=DirectivePolicy)
    name: str = NAME
    spec: str = SPEC

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return one signal for each meta robots element that binds us, and one for each licence link."""
        page = evidence.page
        if page is None or page.state is Fetched.ABSENT:
            return []
        voice = Voice(self.name, self.spec, page)
        if page.state is Fetched.UNREACHABLE:
            return [voice.unreadable("The page that shows the picture gave no answer; nothing may be assumed.")]
        at = page.fetched_at or evidence.fetched_at
        said: list[Signal] = []
        for tag in evidence_tags(evidence):
            directives = self._directives(tag)
            if directives:
                raw = f'<meta name="{tag.get("name") or tag.get("http-equiv")}" content="{tag.get("content")}">'
                said += self.policy.judge(directives, voice, raw, at)
            elif tag.name == "link" and "license" in tag.get("rel").lower().split():
                raw = f'<link rel="license" href="{tag.get("href")}">'
                said.append(voice.say(Verdict.UNKNOWN, raw, "The page names a licence; its terms decide elsewhere."))
        # refusals first, so that a flood of others cannot push one out
        return sorted(said, key=lambda signal: signal.verdict is not Verdict.DENY)[:_MAX_SIGNALS]

    def _directives(self, tag: Tag) -> list[Directive]:
        """Return the directives of a meta element that binds us."""
        if tag.name != "meta":
            return []
        if tag.get("http-equiv").lower() == "x-robots-tag":
            return parse_directives(tag.get("content"))
        agent = tag.get("name").lower()
        if not agent or not self.policy.binds(agent):
            return []
        found = parse_directives(tag.get("content"), scoped=False)
        whom = None if agent in _EVERYONE else agent
        return [Directive(whom, directive.name, directive.value) for directive in found]
