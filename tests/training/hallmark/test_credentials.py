"""Signing: every algorithm and format, what the manifest says, forks, and time stamp authorities up and down."""

import http.server
import json
import multiprocessing
import shutil
import subprocess
import threading
from dataclasses import replace
from datetime import datetime

import c2pa
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hallmarking import CHECKPOINT, DATASET, encode, key_of, some_facts

from filters.errors import BadInput
from training.hallmark.chains import development_chain, new_key, private_pem
from training.hallmark.claim import (
    LABEL,
    Binding,
    ClaimConfig,
    ClaimedPart,
    DatasetFacts,
    Fingerprint,
    ModelFacts,
    Part,
    definition,
    prompt_digest,
    read_claim,
)
from training.hallmark.credentials import MEDIA, HallmarkFailed, Sealer, TimeAuthority
from training.hallmark.keys import key_from_callback
from training.hallmark.reader import read_credential

BINDING = Binding("org.assay-data.rivagan.1", "01020304")


def manifest(config=None, prompt="a cat on a wall", bindings=(BINDING,)):
    return definition("0" * 32, some_facts(prompt), bindings, Fingerprint("f" * 64, 100), config or ClaimConfig())


def active(data, media="image/png"):
    """The active manifest as c2pa reads it, and the text of the whole report."""
    import io

    with c2pa.Reader(media, io.BytesIO(data)) as reader:
        text = reader.json()
    report = json.loads(text)
    return report["manifests"][report["active_manifest"]], text


@pytest.fixture(scope="module")
def picture(photo):
    return encode(photo)


@pytest.mark.parametrize("algorithm", ["es256", "ps256", "ed25519"])
def test_each_algorithm_signs_each_format_as_ours(algorithm, photo, tmp_path):
    chain = development_chain(algorithm)
    sealer = Sealer(key_of(chain, tmp_path))
    for kind, media in MEDIA.items():
        signed = sealer.seal(encode(photo, kind), media, manifest())
        read = read_credential(signed.data, chain.root.decode())
        assert (read.verdict, read.problems) == ("ours", ())
        assert read.claim is not None
        assert (read.claim.id, read.claim.dataset, read.claim.checkpoint) == ("0" * 32, DATASET, CHECKPOINT)
        assert read.claim.bindings == (BINDING,)


def test_further_models_are_read_back_and_a_claim_that_hides_one_is_none():
    part = Part(ModelFacts("adapter", "step 2", "a" * 64), DatasetFacts("subject", "b" * 64))
    told = definition(
        "0" * 32, replace(some_facts("a cat"), parts=(part,)), (BINDING,), Fingerprint("f" * 64, 100), ClaimConfig()
    )
    own = next(one["data"] for one in told["assertions"] if one["label"] == LABEL)
    read = read_claim({LABEL: own})
    assert read is not None
    assert read.parts == (ClaimedPart("a" * 64, "adapter step 2", "b" * 64, "subject"),)
    for broken in ("none", [7], [{**own["parts"][0], "hash": "short"}], [own["parts"][0], {"name": "hidden"}]):
        assert read_claim({LABEL: {**own, "parts": broken}}) is None


def test_a_key_that_somebody_else_holds_signs(chain, anchors, picture):
    key = serialization.load_pem_private_key(chain.key, None)
    asked = []

    def call(data):
        asked.append(len(data))
        return key.sign(data, ec.ECDSA(hashes.SHA256()))

    signed = Sealer(key_from_callback("es256", chain.certificates, call)).seal(picture, "image/png", manifest())
    assert asked
    assert read_credential(signed.data, anchors).verdict == "ours"


def test_a_callback_that_fails_means_no_picture(chain, picture):
    def call(data):
        raise OSError("the key store is down")

    with pytest.raises(HallmarkFailed, match="signing failed"):
        Sealer(key_from_callback("es256", chain.certificates, call)).seal(picture, "image/png", manifest())


def test_a_wrong_key_means_no_picture(signing_key, picture):
    wrong = replace(signing_key, private=private_pem(new_key("es256")))
    with pytest.raises(HallmarkFailed, match="signing failed"):
        Sealer(wrong).seal(picture, "image/png", manifest())


def test_the_manifest_says_what_the_governance_page_asks_for(signing_key, picture):
    found, text = active(Sealer(signing_key).seal(picture, "image/png", manifest()).data)
    assertions = {one["label"]: one["data"] for one in found["assertions"]}
    created, marked = assertions["c2pa.actions.v2"]["actions"]
    assert (created["action"], marked["action"]) == ("c2pa.created", "c2pa.watermarked.bound")
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert created["softwareAgent"] == {"name": "example-ldm", "version": "1.4.2"}
    assert len(created["parameters"]["ingredients"]) == 2
    dataset, model = found["ingredients"]
    assert dataset["relationship"] == model["relationship"] == "inputTo"
    assert dataset["data_types"] == [{"type": "c2pa.types.dataset"}]
    assert DATASET in dataset["description"]
    assert dataset["informational_URI"] == "runs/example"
    assert CHECKPOINT in model["description"]
    assert assertions["c2pa.soft-binding"]["alg"] == BINDING.algorithm
    own = assertions["org.assay-data.hallmark"]
    assert own["pdq"] == {"hash": "f" * 64, "quality": 100}
    assert "thumbnail" not in text


def test_the_prompt_is_a_salted_digest_unless_its_text_is_asked_for(signing_key, picture):
    sealer = Sealer(signing_key)
    found, text = active(sealer.seal(picture, "image/png", manifest(prompt="a secret unicorn")).data)
    own = next(one["data"] for one in found["assertions"] if one["label"] == "org.assay-data.hallmark")
    assert "unicorn" not in text
    assert own["prompt"]["hash"] == prompt_digest("a secret unicorn", own["prompt"]["salt"])
    _, text = active(sealer.seal(picture, "image/png", manifest(ClaimConfig(prompt="text"), "a unicorn")).data)
    assert "a unicorn" in text


def test_the_training_mining_statement_is_as_configured(signing_key, picture):
    sealer = Sealer(signing_key)
    found, _ = active(sealer.seal(picture, "image/png", manifest()).data)
    entries = next(one["data"] for one in found["assertions"] if one["label"] == "cawg.training-mining")["entries"]
    assert entries["cawg.ai_generative_training"] == {"use": "notAllowed"}
    _, text = active(sealer.seal(picture, "image/png", manifest(ClaimConfig(training_mining={}))).data)
    assert "training-mining" not in text
    with pytest.raises(BadInput, match="perhaps"):
        ClaimConfig(training_mining={"cawg.ai_training": "perhaps"})


def test_two_marks_have_two_bindings(signing_key, picture, anchors):
    two = (BINDING, Binding("org.assay-data.gaussian-shading.1", "0" * 32))
    signed = Sealer(signing_key).seal(picture, "image/png", manifest(bindings=two))
    read = read_credential(signed.data, anchors)
    assert read.claim is not None
    assert read.claim.bindings == two


def _seal_in_child(sealer, picture, queue):
    queue.put(sealer.seal(picture, "image/png", manifest()).data)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_sealer_that_was_used_signs_in_a_child_too(signing_key, picture, anchors, method):
    sealer = Sealer(signing_key)
    sealer.seal(picture, "image/png", manifest())
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_seal_in_child, args=(sealer, picture, queue))
    child.start()
    data = queue.get(timeout=60)
    child.join(60)
    assert read_credential(data, anchors).verdict == "ours"


@pytest.fixture
def nobody_listens():
    """A URL on this machine at which nobody answers."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    return f"http://127.0.0.1:{port}/"


def test_a_time_authority_that_is_down_means_no_picture_by_default(signing_key, picture, nobody_listens):
    with pytest.raises(HallmarkFailed, match="policy"):
        Sealer(signing_key, TimeAuthority(nobody_listens)).seal(picture, "image/png", manifest())


def test_a_time_authority_that_is_down_may_be_done_without(signing_key, picture, nobody_listens, anchors):
    signed = Sealer(signing_key, TimeAuthority(nobody_listens, "unstamped")).seal(picture, "image/png", manifest())
    read = read_credential(signed.data, anchors)
    assert not signed.stamped
    assert read.verdict == "ours"
    assert read.signed_at is None
    assert any("no time stamp" in note for note in read.notes)


@pytest.fixture(scope="module")
def time_authority(tmp_path_factory):
    """A real RFC 3161 authority: OpenSSL's `ts`, behind HTTP on this machine."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program to answer time stamp requests")
    folder = tmp_path_factory.mktemp("tsa")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    (folder / "ts.cnf").write_text(
        "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=Example Time\n[ca]\nbasicConstraints=critical,CA:TRUE\n"
        "keyUsage=critical,keyCertSign\n"
        "[leaf]\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n"
        "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert=leaf.pem\nsigner_key=leaf.key\ncerts=ca.pem\n"
        "signer_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256,sha384,sha512\naccuracy=secs:1\n"
        "ess_cert_id_alg=sha256\n"
    )
    (folder / "serial").write_text("01")
    for name in ("ca", "leaf"):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")
    openssl("req", "-new", "-x509", "-key", "ca.key", "-out", "ca.pem", "-config", "ts.cnf", "-extensions", "ca")
    openssl("req", "-new", "-key", "leaf.key", "-out", "leaf.csr", "-config", "ts.cnf")
    leaf = ["-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "leaf.pem"]
    openssl("x509", "-req", *leaf, "-extfile", "ts.cnf", "-extensions", "leaf")

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            openssl("ts", "-reply", "-config", "ts.cnf", "-section", "t", "-queryfile", "query", "-out", "reply")
            body = (folder / "reply").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *details):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_time_authority_that_answers_stamps_the_credential(signing_key, picture, anchors, time_authority):
    signed = Sealer(signing_key, TimeAuthority(time_authority)).seal(picture, "image/png", manifest())
    read = read_credential(signed.data, anchors)
    assert signed.stamped
    assert read.verdict == "ours"
    assert read.signed_at is not None


def test_a_time_authority_is_named_by_a_web_address():
    with pytest.raises(BadInput, match="http"):
        TimeAuthority("file:///etc/passwd")


def test_facts_without_real_hashes_are_refused():
    with pytest.raises(BadInput, match="64 hex digits"):
        some_facts(dataset="latest")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "half \ud800 a character"}, "the prompt holds half"),
        ({"prompt": "x" * 10_001}, "10001 characters"),
        ({"parameters": {"guidance": float("nan")}}, "guidance is nan"),
        ({"created_at": datetime(2026, 11, 21)}, "no time zone"),
    ],
)
def test_facts_that_no_record_holds_are_refused(changes, words):
    with pytest.raises(BadInput, match=words):
        replace(some_facts(), **changes)


def test_any_language_may_stand_in_the_facts(signing_key, picture, anchors):
    facts = replace(some_facts('一只猫 🐈 \x00 " \\'), provider="Ünïcode & Söhne")
    made = definition("0" * 32, facts, (), Fingerprint("f" * 64, 100), ClaimConfig(prompt="text"))
    signed = Sealer(signing_key).seal(picture, "image/png", made)
    assert read_credential(signed.data, anchors).verdict == "ours"
    assert "🐈" in active(signed.data)[1]
