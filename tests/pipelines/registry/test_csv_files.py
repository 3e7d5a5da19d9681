"""A CSV file comes in whole or not at all, and what goes out comes in again."""

from __future__ import annotations

import io
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filters.errors import BadInput
from filters.optout.entries import Draft, Kind
from filters.optout.grants import sign_grant
from pipelines.registry import create_registry
from pipelines.registry.csv_files import export_csv, export_json, import_csv


def write(folder, text):
    path = folder / "list.csv"
    path.write_text(text)
    return path


def test_what_goes_out_comes_in_again(registry, tmp_path):
    grant = sign_grant([(Kind.DOMAIN, "x.org")], Ed25519PrivateKey.generate(), licensor="A", licensee="B")
    drafts = [
        Draft(Kind.CREATOR, 'Doë, "Jane"', ("J. D.", "草間"), "=1+1", "Art. 4", "two\nlines; and, commas"),
        *(Draft(Kind.URL, "https://example.org/a,b"), Draft(Kind.DOMAIN, "x.org"), Draft(Kind.GRANT, grant)),
        *(Draft(Kind.SHA256, "a" * 64), Draft(Kind.PDQ, "b" * 64), Draft(Kind.URL_PREFIX, "https://x.org/g/")),
    ]
    registry.append(drafts)
    path = tmp_path / "out.csv"
    with path.open("w", newline="") as stream:
        assert export_csv(registry.entries(), stream) == len(drafts)
    with create_registry(str(tmp_path / "second")) as second:
        assert import_csv(second, path).last == len(drafts)
        pairs = zip(registry.entries(), second.entries(), strict=True)
        for old, new in pairs:
            assert (new.kind, new.value, new.keys, new.aliases) == (old.kind, old.value, old.keys, old.aliases)
            assert (new.requester, new.basis, new.note) == (old.requester, old.basis, old.note)


def test_json_lines_hold_every_field(registry):
    registry.append([Draft(Kind.CREATOR, "Jane Doe", ("J. D.",))])
    stream = io.StringIO()
    assert export_json(registry.entries(), stream) == 1
    body = json.loads(stream.getvalue())
    assert (body["kind"], body["aliases"], body["seq"]) == ("creator", ["J. D."], 1)
    assert body["created_at"].endswith("Z")


def test_the_two_needed_columns_are_enough_in_any_order(registry, tmp_path):
    import_csv(registry, write(tmp_path, "\ufeffValue, Kind\nx.org,domain\n\nJane Doe,CREATOR\n"))
    assert [entry.value for entry in registry.entries()] == ["x.org", "Jane Doe"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("kind,value\ndomain,x.org\ndomain,co.uk\n", ":3: 'co.uk'"),
        ("kind,value\ndomain,x.org\nplanet,mars\n", ":3: unknown kind 'planet'"),
        ('kind,value,note\ndomain,x.org,"two\nlines"\nsha256,xyz,\n', ":4: 'xyz'"),
        ("kind,value\ndomain,x.org,extra\n", ":2: 3 fields"),
        ("kind,value\ndomain\n", ":2: 1 fields"),
        ("kind,name\ndomain,x.org\n", ":1: the header needs"),
        ("kind,value,colour\ndomain,x.org,red\n", ":1: unknown column 'colour'"),
        ("kind,value,value\ndomain,x.org,y\n", ":1: a column is there twice"),
        ('kind,value\ndomain,"x.org\n', ":2: no CSV"),
        ("kind,value,aliases\ndomain,x.org,y\n", ":2: only a creator has aliases"),
        ("kind,value\ncreator,a\x00b\n", ":2:"),
        ("kind,value\n", "holds no entry"),
        ("", "holds no entry"),
        ("kind,value\nurl,https://x.org/" + "a" * 300_000, "longer than"),
    ],
)
def test_one_wrong_line_is_named_and_nothing_comes_in(registry, tmp_path, text, where):
    registry.append([Draft(Kind.DOMAIN, "before.org")])
    with pytest.raises(BadInput) as caught:
        import_csv(registry, write(tmp_path, text))
    assert where in str(caught.value)
    assert "list.csv" in str(caught.value)
    assert registry.snapshot().seq == 1


def test_missing_and_binary_files_are_refused(registry, tmp_path):
    (tmp_path / "list.csv").write_bytes(b"kind,value\n\xff\xfe")
    for name in ("list.csv", "missing.csv", "."):
        with pytest.raises(BadInput):
            import_csv(registry, tmp_path / name)
