"""Facts made by hand: a dataset about which everything is known, with hostile strings where data can bring them."""

import hashlib
from dataclasses import replace

from audit.compliance import Problem
from audit.documents.facts import (
    Audit,
    Channel,
    Counts,
    Crawl,
    Dataset,
    Domain,
    Domains,
    Fact,
    Facts,
    Gate,
    Material,
    Processing,
    Retraction,
    Rights,
    Shard,
    Source,
)
from audit.documents.provider import Named, Provider, YesNo

HASH = hashlib.sha256(b"content").hexdigest()


def shard(number: int) -> Shard:
    """A shard of 5 samples."""
    name = f"shards/shard-{number:05d}"
    digests = [hashlib.sha256(f"{name}{kind}".encode()).hexdigest() for kind in ("tar", "parquet")]
    return Shard(f"{name}.tar", 5, digests[0], 1000 + number, f"{name}.parquet", digests[1], 100 + number)


def full_provider() -> Provider:
    """A provider that answers everything."""
    yes = YesNo(True, "as told")
    texts = {
        "name": "Example Lab",
        "address": "1 Street, Town",
        "contact": "data@example.org",
        "representative": "Example GmbH, Berlin",
        "placed_on_market": "2026-12-01",
        "first_used": "2026-11-22",
        "purpose": "research",
        "how_it_serves": "it has drawings",
        "social_impact": "little",
        "version": "2.3.4",
        "published": "2026-11-30",
        "url": "https://example.org/data",
        "download": "https://example.org/files/",
        "licence": "https://creativecommons.org/licenses/by/4.0/",
        "citation": "Example Lab (2026)",
        "description": "drawings",
        "funding": "nobody",
        "maintenance": "monthly",
        "content_types": "drawings",
        "collection": "by hand",
        "collected_from": "2026-01-01",
        "collected_to": "2026-02-01",
        "crawl_purpose": "training",
        "consent": "not asked",
        "copyright_policy": "https://example.org/policy",
        "processing_purpose": "quality",
        "illegal_content": "manual review",
        "other_processing": "none",
    }
    answers = (
        "continuous_training collection_ongoing licensed_data third_party_data crawled_data user_data synthetic_data "
        "other_data protected_by_ip purchased_or_licensed personal_information consumer_information code_of_practice"
    )
    lists = dict.fromkeys(("use_cases", "unsuitable_uses", "limitations", "owners"), ("one", "two"))
    named = {name: (Named("A", "https://example.org/a"),) for name in ("models", "base_models", "public_datasets")}
    return Provider(sme=False, **texts, **lists, **named, **dict.fromkeys(answers.split(), yes))


def full_facts(**changes: object) -> Facts:
    """Facts of a run about which everything is known; `changes` replace fields."""
    made = Facts(
        dataset=Fact(
            Dataset(
                "made",
                HASH,
                None,
                "2026-11-21T10:00:00+00:00",
                "0.1.0",
                "abc",
                {"pyarrow": "25.0"},
                True,
                f"1.1.0+{HASH[:12]}",
            ),
            "manifest",
        ),
        counts=Fact(
            Counts(20, 10, {"NSFW": 7, "OPTED_OUT": 3}, {"NSFW": "too high", "OPTED_OUT": "denied"}), "ledger"
        ),
        material=Fact(
            Material(
                5_000, 120, 30, {"png": 6, "jpeg": 4}, {"CC0-1.0": 9, "": 1}, {"en": 10}, 3, 1, (10, 10), (99, 50)
            ),
            "samples",
        ),
        domains=Fact(Domains(tuple(Domain(f"d{n}.example", 1, 100 - n) for n in range(10)), 0), "samples"),
        source=Fact(Source("url", (("list-0", 20, HASH),)), "manifest"),
        crawl=Fact(
            Crawl(
                "assay/0.1.0",
                "a@b.example",
                "2026-11-20T01:00:00+00:00",
                "2026-11-20T02:00:00+00:00",
                20,
                {"ok": 17, "opt_out": 3},
            ),
            "downloads",
        ),
        rights=Fact(
            Rights(
                ("One denial leaves the work out.",),
                ("assay", "GPTBot"),
                "2026-08-22",
                (Channel("robots.txt", 3, 0, 2, 0),),
                (4, HASH, "2026-11-20T00:00:00+00:00"),
                {"creator: deny": 2},
                (Retraction("2026-11-21T09:00:00+00:00", 1, 2, 0),),
                1,
            ),
            "signals",
        ),
        processing=Fact(
            Processing({"nsfw": "open-nsfw@sha256:0123"}, ("nsfw: at most 0.8; else NSFW",), "exact yes", "none"),
            "manifest",
        ),
        shards=Fact((shard(0), shard(1)), "manifest"),
        audit=Fact(
            Audit(("women are 20 % of it",), ("skin tone: nobody labelled it",), 12, 3, 1, ("9 of 10 have one",)),
            "audit/audit.json",
        ),
        gates=Fact((Gate("share of women", "pass", "35 %, at least 30 %"),), "manifest: gates"),
        provider=full_provider(),
    )
    return replace(made, **changes)


#: Strings that try to be markup, markup of JSON-LD, or a line of their own.
HOSTILE = (
    "<script>alert(1)</script>",
    "](javascript:alert(1)) ![x](http://evil.example/p.png)",
    "# heading\n\n| cell | cell |\n\n> quote",
    '"}, {"@id": "http://evil.example/", "@type": "sc:Dataset',
    "`code` *bold* _em_ ~~gone~~ $x$ &lt;b&gt; \\",
    "nul\x00 bell\x07 right\u202eto left \ud800 line\u2028end",
    "1. list",
    "- item\r\n## more",
)


def hostile_facts(text: str) -> Facts:
    """Facts in which every string that data, a recipe or an audit can bring is `text`."""
    full = full_facts()
    material = replace(full.material.value, formats={text: 4}, licences={text: 4}, languages={text: 4})
    rights = replace(full.rights.value, channels=(Channel(text, 1, 0, 0, 0),), matches={text: 1}, policy=(text,))
    return full_facts(
        dataset=Fact(replace(full.dataset.value, name=text), "manifest"),
        material=Fact(material, "samples"),
        domains=Fact(Domains((Domain(text, 4, 100),), 0), "samples"),
        crawl=Fact(replace(full.crawl.value, agent=text, contact=text), "downloads"),
        source=Fact(Source("url", ((text, 20, HASH), (text, 1, HASH))), "manifest"),
        rights=Fact(rights, "signals"),
        processing=Fact(Processing({text: text}, (text,), text, text), "manifest"),
        audit=Fact(Audit((text,), (text,), 2, 2, 1, (text,)), "audit"),
        gates=Fact((Gate(text, "fail", text), Gate("b", "fail", text, text, text)), "manifest"),
        problems=(Problem("DENIED_BUT_KEPT", text),),
        provider=replace(
            full.provider,
            name=text,
            contact=text,
            licence=text,
            owners=(text,),
            models=(Named(text, text, text),),
            citation=text,
            description=text,
        ),
    )
