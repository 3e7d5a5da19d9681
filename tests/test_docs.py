"""Generated pages say what the code says, and the README names only what exists."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def test_generated_pages_are_up_to_date():
    from build_docs import pages

    for name, text in pages().items():
        assert (ROOT / "docs" / name).read_text() == text, f"docs/{name} is old: run make docs"


def test_the_recipe_page_names_keys_below_names_of_the_users_own():
    from build_docs import recipe_page

    page = recipe_page()
    for key in (
        "gates.NAME.share.min",
        "balance.quotas.NAME.parity",
        "audit.groups.NAME.lexicon",
        "rules.NAME.by_group.GROUP.VALUE.low",
    ):
        assert f"| `{key}` |" in page, key
    assert "`by_group`" in page.partition("## Rules")[2]


def test_the_recipe_schema_is_plain_json():
    text = (ROOT / "docs" / "recipe.schema.json").read_text()
    schema = json.loads(text, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))
    assert schema["additionalProperties"] is False


def test_every_reason_is_documented():
    from filters.reasons import Reason

    page = (ROOT / "docs" / "reasons.md").read_text()
    assert [reason for reason in Reason if f"`{reason.value}`" not in page] == []


def test_variables_that_tests_and_scripts_read_are_documented():
    from filters.environment import VARIABLES

    told = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "README.md").read_text()
    files = [path for folder in ("tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    code = "".join(path.read_text() for path in [*files, ROOT / "Makefile"])
    named = set(re.findall(r"\bASSAY_[A-Z_]+\b", code)) - VARIABLES.keys()
    own = {"ASSAY_TEST_HARM"}  # set by the tests themselves
    assert sorted(name for name in named - own if name not in told) == []


def test_links_of_the_pages_exist():
    for page in (ROOT / "docs").glob("*.md"):
        for target, anchor in re.findall(r"\]\((?!http)([\w./-]*)(?:#([\w-]+))?\)", page.read_text()):
            linked = page.parent / target if target else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
                assert anchor in anchors, f"{page.name}: {target}#{anchor}"


def test_links_and_commands_of_the_readme_exist():
    from pipelines.commands.main import COMMANDS

    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"(?:^|`)assay ([a-z]+)", text, re.MULTILINE):
        assert name in COMMANDS, name
