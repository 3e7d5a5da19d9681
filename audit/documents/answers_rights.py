"""Answers on rights, crawling, bias and what stands against the dataset."""

from __future__ import annotations

from math import ceil

from audit.documents.answers import retraction_words, sentences
from audit.documents.facts import Audit, Crawl, Domain, Domains, Fact, Facts, Gate, Rights
from audit.documents.form import Answer, Table
from audit.documents.text import counted, number, share, when

#: Shares of the domains, by size of their content, that the template asks for; for small and medium enterprises the
#: smaller of the second one and the number (governance facts §6.1).
TOP, TOP_SME, MOST_SME = 0.10, 0.05, 1000

#: What a download's status means.
STATUSES = {
    "ok": "downloaded",
    "opt_out": "not asked for, or left, because of an opt-out",
    "refused": "refused by the host or by this program's own rules of safety",
    "network": "no connection",
    "http": "an answer other than success",
    "size": "larger than the recipe allows",
    "decode": "not a picture",
    "harmful": "on a list of known harmful pictures",
}


def top_domains(domains: Domains, sme: bool) -> tuple[Domain, ...]:
    """Return the largest domains that the template asks for: a tenth of them, or the lesser share of an SME."""
    ordered = sorted(domains.found, key=lambda d: (-d.nbytes, d.name))
    wanted = ceil(len(ordered) * TOP)
    if sme:
        wanted = min(ceil(len(ordered) * TOP_SME), MOST_SME)
    return tuple(ordered[:wanted])


def domains(facts: Facts) -> Fact[Answer]:
    """List the domains that the template asks for, with samples and bytes."""
    sme = facts.provider.sme is True

    def table(found: Domains) -> Answer:
        top = top_domains(found, sme)
        if not found.found:
            return f"No kept record names a web host ({number(found.without)} records without one)."
        total = sum(d.nbytes for d in found.found)
        mine = sum(d.nbytes for d in top)
        rule = f"the largest {TOP_SME if sme else TOP:.0%}{f', at most {number(MOST_SME)}' if sme else ''}"
        note = (
            f"{number(len(top))} of {number(len(found.found))} domains ({rule} by bytes of kept pictures and "
            f"captions); they hold {share(mine, total)} of the bytes that name a host. "
            f"{number(found.without)} records name none."
        )
        return Table(("domain", "samples", "bytes"), tuple((d.name, d.samples, d.nbytes) for d in top), note)

    return facts.domains.then(table)


def crawled(facts: Facts) -> Fact[Answer]:
    """Say whether this run crawled, else what the provider says."""
    told = facts.said("crawled_data")
    if facts.crawl.value is not None:
        mine = "Yes. This run downloaded its pictures from the addresses of a list."
        return Fact((mine, told.value) if told.value else mine, facts.crawl.source)
    return Fact(told.value, _by_crawl(facts, told.source), told.why)


def crawler(facts: Facts) -> Fact[Answer]:
    """Name the crawler, whom it names, and how it behaves."""
    return (
        facts.crawl.then(
            lambda c: (
                f"User agent: {c.agent}",
                f"Operator as told to every host: {c.contact}",
                "It asks robots.txt, TDMRep, ai.txt, AIPREF and licence files of a host before it asks for a picture, "
                "requests only what they permit, solves no captcha and passes no log-in or paywall.",
            )
        )
        if facts.crawl.value is not None
        else _no_crawl(facts)
    )


def crawl_window(facts: Facts) -> Fact[Answer]:
    """Say when the crawl took place: first and last answer."""
    return facts.crawl.then(_window) if facts.crawl.value is not None else _no_crawl(facts)


def _window(c: Crawl) -> Answer | None:
    return f"From {when(c.first)} to {when(c.last)} (first and last answer of a host)." if c.first and c.last else None


def crawl_results(facts: Facts) -> Fact[Answer]:
    """Count the rows of the list by what came of them."""
    if facts.crawl.value is None:
        return _no_crawl(facts)
    return facts.crawl.then(
        lambda c: Table(
            ("outcome", "addresses", "meaning"),
            tuple((status, count, STATUSES.get(status, "")) for status, count in c.statuses.items()),
            f"{number(c.rows)} addresses in the list.",
        )
    )


def crawl_purpose(facts: Facts) -> Fact[Answer]:
    """Say what the crawl was for; nothing to say where nobody crawled."""
    denied = facts.provider.crawled_data
    if facts.crawl.value is None and denied is not None and not denied.answer:
        return Fact("Does not apply: nothing was crawled.", facts.said("crawled_data").source)
    return facts.said("crawl_purpose").then(lambda text: text)


def _by_crawl(facts: Facts, otherwise: str) -> str:
    """Return the place of what downloads state where there are any; the provider's alone for a run without."""
    return otherwise if facts.source.value is not None else f"{facts.crawl.source}, else {otherwise}"


def _no_crawl(facts: Facts) -> Fact[Answer]:
    if facts.source.value is None:
        return Fact(None, facts.crawl.source)
    return Fact("Does not apply to this run: it downloaded nothing.", facts.source.source)


def collected(facts: Facts) -> Fact[Answer]:
    """Say when the data were collected: by this run's crawl, else as the provider states."""
    window = facts.crawl.then(_window)
    begin, end = facts.said("collected_from"), facts.said("collected_to")
    ongoing = facts.said("collection_ongoing")
    told = None
    if begin.value or end.value:
        told = f"From {begin.value or 'a day that is not stated'} to {end.value or 'a day that is not stated'}."
        told += f" Ongoing: {ongoing.value}" if ongoing.value else ""
    if window.value is None:
        return Fact(told, _by_crawl(facts, f"{begin.source}, {end.source}"))
    parts = (str(window.value), *((f"By the provider: {told}",) if told else ()))
    return Fact(parts, window.source)


def latest(facts: Facts) -> Fact[Answer]:
    """Say the last day of acquisition."""
    last = facts.crawl.then(lambda c: c.last and c.last[:10])
    told = facts.said("collected_to")
    return Fact(last.value, last.source) if last.value else Fact(told.value, _by_crawl(facts, told.source))


def measures(facts: Facts) -> Fact[Answer]:
    """Say how reservations of rights were looked for and what follows from one."""

    def words(r: Rights) -> Answer:
        registry = "No opt-out registry was consulted."
        if r.registry:
            entries, digest, at = r.registry
            registry = (
                f"Opt-out registry consulted {when(at)}: {counted(entries, 'entry')}, the last with hash {digest}."
            )
        asked = (
            f"robots.txt: {number(len(r.obeyed))} agents' rules count, the crawler's own and those of a list of "
            f"AI-training agents of {r.obeyed_date}; whoever shuts one of them out is obeyed."
        )
        return (*r.policy, *((asked,) if facts.crawl.value is not None else ()), registry)

    return facts.rights.then(words)


def channels(facts: Facts) -> Fact[Answer]:
    """Count the rights statements that were found, by channel and verdict."""

    def table(r: Rights) -> Answer:
        if not r.channels:
            return "No rights statement was found in any file, record or host's answer."
        rows = tuple((c.name, c.deny, c.unreadable, c.allow, c.unknown) for c in r.channels)
        note = (
            "Statements found on samples, kept and dropped alike. The rule is that a denial takes the sample out, "
            "unless a licence grant that the rightsholder signed overrides it; a statement of kind unknown neither "
            "denies nor allows training, as most licences and copyright lines do."
        )
        return Table(("channel", "deny", "unreadable", "allow", "unknown"), rows, note)

    return facts.rights.then(table)


def matches(facts: Facts) -> Fact[Answer]:
    """Count what the opt-out registry matched."""

    def table(r: Rights) -> Answer | None:
        if r.registry is None:
            return None
        if not r.matches:
            return "The registry named no sample."
        return Table(("entry and outcome", "matches"), tuple(r.matches.items()))

    return facts.rights.then(table)


def retractions(facts: Facts) -> Fact[Answer]:
    """Say which opt-outs were applied later."""
    return facts.rights.then(retraction_words)


def harmful(facts: Facts) -> Fact[Answer]:
    """Say how known harmful material was kept out, with what the provider adds."""
    told = facts.said("illegal_content")

    def words(r: Rights) -> Answer:
        if not r.harmful_lists:
            return "No list of known harmful pictures was used."
        count = facts.counts.value.dropped.get("KNOWN_HARMFUL", 0) if facts.counts.value else 0
        return (
            f"Compared with {counted(r.harmful_lists, 'list')} of known harmful pictures: {number(count)} matched and "
            "were left out; nothing of them was kept."
        )

    rules = facts.processing.then(lambda p: tuple(f"Rule {rule}." for rule in p.rules if rule.startswith("nsfw")))
    known: list[Fact[Answer]] = [facts.rights.then(words), rules.then(lambda t: t), told.then(lambda t: t)]
    parts = tuple(sentence for fact in known if fact.value for sentence in sentences(fact.value))
    sources = "; ".join(fact.source for fact in known if fact.value)
    return Fact(parts, sources) if parts else Fact(None, told.source)


def biases(facts: Facts) -> Fact[Answer]:
    """Repeat what the bias audit found, and what it could not measure."""

    def words(a: Audit) -> Answer:
        large = f"{number(a.sure)} are sure and large enough to matter"
        few = f"; {number(a.unmeasured)} more could not be, for want of samples" if a.unmeasured else ""
        return (
            f"{counted(a.measured, 'figure')} could be computed, of which {large}{few}.",
            *a.coverage,
            *a.found,
            *(f"Not measured: {text}" for text in a.not_measured),
        )

    return facts.audit.then(words)


def _waiver(gate: Gate) -> str:
    at = f" on {when(gate.waived_at)}" if gate.waived_at else ""
    return f"{gate.waived_by}{at}: {gate.waived_why}" if gate.waived_by else ""


def gates(facts: Facts) -> Fact[Answer]:
    """List the gates with their outcome and waivers."""

    def table(found: tuple[Gate, ...]) -> Answer:
        if not found:
            return "No gate was set."
        rows = tuple((g.name, g.state, g.words, _waiver(g)) for g in found)
        return Table(("gate", "outcome", "what it says", "waived by, and why"), rows)

    return facts.gates.then(table)


def alarms(facts: Facts) -> tuple[str, ...]:
    """Return what must be said first: problems of the compliance check, failed gates, waivers. Empty where none is."""
    found = [f"ASSAY CHECK REFUSES THIS DATASET: {p.code}. {p.detail}" for p in facts.problems]
    for gate in facts.gates.value or ():
        outcome = "GATE FAILED" if gate.state == "fail" else "GATE NOT MEASURABLE"
        if gate.blocks:
            found.append(f"{outcome} and nobody has waived it: {gate.name}. {gate.words}")
        elif gate.waived_by:
            found.append(f"{outcome}, waived by {_waiver(gate)}. The gate: {gate.name}. {gate.words}")
    return tuple(found)
