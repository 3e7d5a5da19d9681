"""Every format: all that is known is said, all that is not is marked, markup stays text, the same gives the same."""

import io
import json
import re
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from made_facts import HASH, HOSTILE, full_facts, hostile_facts
from spdx_python_model import v3_0_1

from audit.compliance import Problem
from audit.documents import croissant_check
from audit.documents.facts import Fact, Facts, Gate
from audit.documents.form import questions
from audit.documents.formats import FORMATS
from audit.documents.provider import Provider

NAMES = list(FORMATS)


def documents(facts: Facts) -> dict[str, bytes]:
    return {d.name: d.data for form in FORMATS.values() for d in form.make(facts, "")}


def bare_facts() -> Facts:
    """What a run knows that nobody audited and whose provider says nothing."""
    return full_facts(provider=Provider(), audit=Facts().audit, crawl=Facts().crawl, gates=Fact((), "manifest"))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_missing_where_everything_is_known(name):
    for document in FORMATS[name].make(full_facts(), ""):
        assert document.missing == ()
        assert b"Not stated" not in document.data
        assert b"not stated by the provider" not in document.data


@pytest.mark.parametrize("name", NAMES)
def test_each_missing_field_is_listed_with_its_place_and_marked_in_the_document(name):
    for document in FORMATS[name].make(bare_facts(), ""):
        listed = {item.field.split(" ")[0]: item for item in document.missing}
        asked = {q.ident: q for q in questions(FORMATS[name].parts)}
        open_ones = {i for i, q in asked.items() if q.answer(bare_facts()).value is None and not q.optional}
        assert set(listed) == open_ones
        assert open_ones
        assert all("provider." in item.where or item.why for item in listed.values())
        assert b"ot stated" in document.data


@pytest.mark.parametrize("name", NAMES)
def test_every_question_says_where_its_answer_comes_from(name):
    """The page docs/document-fields.md is made of this."""
    for question in questions(FORMATS[name].parts):
        assert question.answer(Facts()).value is None
        assert question.answer(Facts()).source
        assert question.answer(full_facts()).value is not None


def test_the_same_facts_give_the_same_bytes():
    assert documents(full_facts()) == documents(full_facts())


def test_no_document_holds_a_date_that_the_facts_do_not():
    known = {"2026-11-21", "2026-11-20", "2026-12-01", "2026-11-22", "2026-11-30", "2026-01-01", "2026-02-01"}
    known |= {"2026-08-22"}
    for data in documents(full_facts()).values():
        assert set(re.findall(r"20\d\d-\d\d-\d\d", data.decode())) <= known


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_the_data_stay_text_in_markdown(text):
    plain = {name: data.decode().splitlines() for name, data in documents(full_facts()).items() if ".md" in name}
    for name, data in documents(hostile_facts(text)).items():
        if not name.endswith(".md"):
            continue
        page = data.decode()
        assert not re.search(r"<(?!/?sub>)[a-zA-Z/!]", page)
        assert "](" not in page.replace("\\]", "")
        assert "\x00" not in page
        assert "\u202e" not in page
        headings = [line for line in page.splitlines() if line.startswith("#")]
        assert headings[1:] == [line for line in plain[name] if line.startswith("#")][1:]
        # a pipe of the data would be one more cell in its row
        for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
            cells = {len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}
            assert len(cells) == 1, block


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_the_data_stay_values_in_json(text):
    usual = {name: _shape(json.loads(data)) for name, data in documents(full_facts()).items() if ".json" in name}
    for name, data in documents(hostile_facts(text)).items():
        if not name.endswith(".json"):
            continue
        assert b"<" not in data
        body = json.loads(data)
        # a licence that is none of SPDX's is given by its words
        allowed = {"name", "simplelicensing_licenseText"}
        assert _keys(body) <= _keys(json.loads(documents(full_facts(problems=(Problem("A", "b"),)))[name])) | allowed
        for ident in _identifiers(body):
            assert "evil" not in ident
        assert usual[name] == _shape(body)


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in _keys(item)}
    return {key for item in value for key in _keys(item)} if isinstance(value, list) else set()


def _identifiers(value: object) -> list[str]:
    if isinstance(value, dict):
        mine = [str(value[key]) for key in ("@id", "@type", "spdxId", "type") if key in value]
        return mine + [i for item in value.values() for i in _identifiers(item)]
    return [i for item in value for i in _identifiers(item)] if isinstance(value, list) else []


def _shape(body: object) -> object:
    return sorted(body) if isinstance(body, dict) else type(body)


@pytest.mark.parametrize("facts", [full_facts(), bare_facts(), *(hostile_facts(text) for text in HOSTILE)])
def test_the_bill_of_materials_passes_the_strict_validator(facts):
    data = documents(facts)["bom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data) is None
    broken = data.replace('"type": "dataset"', '"type": "pictures"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_the_bill_of_materials_names_every_file_with_its_hash():
    body = json.loads(documents(full_facts())["bom.cdx.json"])
    (dataset, *_), files = body["components"], body["components"][0]["components"]
    wanted = {s.name: s.sha256 for s in full_facts().shards.value}
    wanted |= {s.table: s.table_sha256 for s in full_facts().shards.value}
    assert {f["name"]: f["hashes"][0]["content"] for f in files} == wanted
    assert dataset["licenses"][0]["license"]["id"] == "CC-BY-4.0"
    assert {d["ref"] for d in body["dependencies"]} <= {c["bom-ref"] for c in body["components"]}


@pytest.mark.parametrize("facts", [full_facts(), bare_facts(), *(hostile_facts(text) for text in HOSTILE)])
def test_the_spdx_document_loads_in_the_model_of_spdx_and_holds_to_the_dataset_profile(facts):
    data = documents(facts)["dataset.spdx.json"]
    objects = v3_0_1.SHACLObjectSet()
    v3_0_1.JSONLDDeserializer().read(io.BytesIO(data), objects)
    # writing checks how many values each property must have
    v3_0_1.JSONLDSerializer().write(objects, io.BytesIO())
    assert objects.missing_ids <= {"https://spdx.org/licenses/CC0-1.0"}
    graph = json.loads(data)["@graph"]
    (package,) = [e for e in graph if e["type"] == "dataset_DatasetPackage"]
    kinds = [e["relationshipType"] for e in graph if e["type"] == "Relationship" and e["from"] == package["spdxId"]]
    assert kinds.count("hasDeclaredLicense") == 1
    assert kinds.count("hasConcludedLicense") == 1
    known = {e.get("spdxId") for e in graph}
    targets = {to for e in graph if e["type"] == "Relationship" for to in e["to"]}
    assert targets - known <= {"https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"}
    (whole,) = [e for e in graph if e["type"] == "SpdxDocument"]
    assert set(whole["element"]) == known - {None, whole["spdxId"]}


def test_spdx_refuses_what_is_no_spdx():
    """The model does check: an unknown purpose is an error."""
    data = documents(full_facts())["dataset.spdx.json"].replace(b'"data"', b'"pictures"')
    with pytest.raises(Exception, match="pictures"):
        v3_0_1.JSONLDDeserializer().read(io.BytesIO(data), v3_0_1.SHACLObjectSet())


def test_spdx_says_no_assertion_where_nothing_is_stated():
    (package,) = [
        e
        for e in json.loads(documents(bare_facts())["dataset.spdx.json"])["@graph"]
        if e["type"] == "dataset_DatasetPackage"
    ]
    assert package["dataset_hasSensitivePersonalInformation"] == "noAssertion"
    assert "software_downloadLocation" not in package
    assert "releaseTime" not in package


ALARMS = {
    "a problem": {"problems": (Problem("UNAPPLIED_ENTRY", "3 entries wait"),)},
    "a failed gate": {"gates": Fact((Gate("women", "fail", "3 entries wait"),), "manifest")},
    "a gate that could not be measured": {
        "gates": Fact((Gate("women", "not measurable", "3 entries wait"),), "manifest")
    },
    "a waived gate": {"gates": Fact((Gate("women", "fail", "3 entries wait", "Ann", "known"),), "manifest")},
}


@pytest.mark.parametrize("what", ALARMS)
def test_what_speaks_against_the_dataset_stands_first_in_every_document(what):
    for name, data in documents(full_facts(**ALARMS[what])).items():
        text = data.decode()
        assert "3 entries wait" in text, name
        assert re.search("REFUSES THIS DATASET|GATE FAILED|GATE NOT MEASURABLE", text), name
        if name.endswith(".md"):
            assert text.index("ATTENTION") < text.index("## ")
        if what == "a waived gate":
            assert "waived by Ann" in text
    for name, data in documents(full_facts()).items():
        assert not re.search("REFUSES|GATE |ATTENTION", data.decode()), name


@pytest.mark.parametrize("facts", [full_facts(), bare_facts(), *(hostile_facts(text) for text in HOSTILE)])
def test_croissant_passes_the_strict_check(facts):
    assert croissant_check.problems(json.loads(documents(facts)["croissant.json"])) == []


def test_croissant_lists_the_records_licences_where_the_provider_states_none():
    body = json.loads(documents(full_facts(provider=replace(Provider(), name="x")))["croissant.json"])
    assert body["license"] == ["https://spdx.org/licenses/CC0-1.0"]
    assert "No licence of the compilation is stated" in body["description"]
    assert body["version"] == f"1.1.0+{HASH[:12]}"


def test_the_address_of_the_provider_stands_before_the_shards():
    body = json.loads(documents(full_facts())["croissant.json"])
    assert body["distribution"][0]["contentUrl"] == "https://example.org/files/shards/shard-00000.tar"
    here = full_facts(provider=Provider())
    (document,) = FORMATS["croissant"].make(here, "../run")
    assert json.loads(document.data)["distribution"][0]["contentUrl"] == "../run/shards/shard-00000.tar"
