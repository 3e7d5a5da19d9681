"""`assay evaluate generation`: what it writes and where, the same again, and what it refuses."""

import base64
import io
import json
import re
import shutil

import pytest
from method_runs import METHOD
from PIL import Image
from quick_evaluation import QUICK

from pipelines.commands.main import invoke
from training.checkpoints import read_facts
from training.evaluation.document import Evaluation, Frechet, Loss, Memorisation
from training.sampling.model import checked_facts


@pytest.fixture(scope="session")
def found(evaluated):
    return Evaluation.model_validate_json((evaluated / "evaluation.json").read_bytes())


def test_says_what_was_seen_and_measures_on_what_was_held_out(found):
    assert found.subject.basis == "held-out"
    assert found.subject.samples == found.subject.seen + found.subject.unseen == 60
    assert (found.subject.leaked, found.subject.gone) == (0, 0)
    assert isinstance(found.loss, Loss)
    assert found.loss.unseen.n == min(20, found.subject.unseen)
    assert found.loss.seen.n == 20
    assert len(found.loss.unseen_levels) == len(found.loss.seen_levels) == 10


def test_names_its_features_and_says_that_few_pictures_are_biased(found):
    assert isinstance(found.frechet, Frechet)
    assert "not FID" in found.frechet.name
    assert found.frechet.biased
    assert found.frechet.baseline.pictures == 6
    assert any("biased" in text for text in found.limits)


def test_people_are_not_told_by_an_encoder_of_unknown_error(found):
    assert [one.measured for one in found.outputs] == [False, False]
    assert all("not measurable with this encoder" in one.why for one in found.outputs)


def test_memorisation_is_judged_at_a_stated_rate(found):
    assert isinstance(found.memorisation, Memorisation)
    assert found.memorisation.flagged.n == 12
    assert found.memorisation.rate == pytest.approx(2 / (found.memorisation.baseline + 1), rel=1e-4)
    assert found.memorisation.pairs


def test_the_checkpoint_stays_what_it_was(evaluated, checkpoint):
    assert checked_facts(checkpoint)["checkpoint"] == read_facts(checkpoint)["checkpoint"]
    assert evaluated.name == f"{checkpoint.name}-{read_facts(checkpoint)['checkpoint'][:16]}"
    assert not (evaluated / "work").exists()
    assert sorted(path.name for path in evaluated.iterdir() if not path.name.startswith(".")) == [
        "evaluation.html",
        "evaluation.json",
        "model-card.md",
    ]


def test_the_card_holds_the_checkpoints_own_and_the_figures(evaluated, checkpoint):
    card = (evaluated / "model-card.md").read_text()
    assert card.startswith((checkpoint / "README.md").read_text().rstrip())
    assert "## Evaluation" in card
    assert "energy:" in card
    assert "Loss on held-out samples" in card


def test_no_generated_picture_is_shown_without_its_marks(evaluated):
    page = (evaluated / "evaluation.html").read_text()
    sources = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="(generated[^"]*)', page)
    assert len(sources) >= 6
    for source, _ in sources:
        image = Image.open(io.BytesIO(base64.b64decode(source)))
        assert "trainedAlgorithmicMedia" in image.info["XML:com.adobe.xmp"]
        assert max(image.size) <= 128
        assert image.getpixel((image.width - 1, image.height - 1)) == (0, 0, 0)  # the label's ground
    assert "http://" not in page.split("</style>")[0]
    assert "<script" not in page


def test_the_same_again_gives_the_same_bytes(evaluated, checkpoint, dataset, tmp_path, capsys):
    arguments = ["evaluate", "generation", str(checkpoint), "--run", str(dataset / "run"), "--out"]
    assert invoke([*arguments, str(tmp_path / "again"), *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((evaluated / "evaluation.json").read_bytes())
    for name in ("evaluation.json", "evaluation.html", "model-card.md"):
        assert (tmp_path / "again" / name).read_bytes() == (evaluated / name).read_bytes()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--pictures", "1"], "--pictures 1"),
        (["--losses", "3"], "--losses 3"),
        (["--features", "nonsense"], "--features nonsense"),
        (["--prompts", "missing.txt"], "cannot be read"),
        (["--steps", "0"], "--steps 0"),
        (["--guidance", "1000"], "--guidance 1000"),
        (["--seed", "-1"], "--seed -1"),
        (["--scheduler", "flow-euler"], "--scheduler flow-euler"),
    ],
)
def test_bad_options_are_one_line_and_exit_2(checkpoint, dataset, tmp_path, capsys, given, words):
    arguments = ["evaluate", "generation", str(checkpoint), "--run", str(dataset / "run"), "--out", str(tmp_path)]
    assert invoke([*arguments, *given]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "\n" not in said


def test_empty_prompts_other_data_and_other_folders_are_refused(checkpoint, dataset, tmp_path, capsys):
    (tmp_path / "none.txt").write_text("\n \n")
    base = ["evaluate", "generation", str(checkpoint), "--run", str(dataset / "run"), "--out", str(tmp_path / "out")]
    assert invoke([*base, "--prompts", str(tmp_path / "none.txt")]) == 2
    assert "holds no prompt" in capsys.readouterr().err
    assert invoke(["evaluate", "generation", str(tmp_path), "--run", str(dataset / "run")]) == 2
    assert "not a checkpoint" in capsys.readouterr().err
    assert invoke(["evaluate", "generation", str(checkpoint), "--run", str(tmp_path)]) == 2
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "evaluation.json").write_text('{"subject": {"checkpoint": "another"}}')
    capsys.readouterr()
    assert invoke(base) == 2
    assert "another checkpoint" in capsys.readouterr().err
    assert invoke([*base[:-1], str(checkpoint / "evaluation")]) == 2
    assert "lies in the checkpoint" in capsys.readouterr().err


def test_a_changed_checkpoint_is_refused(checkpoint, dataset, tmp_path, capsys):
    changed = shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    (changed / "README.md").write_text("better than it is")
    assert invoke(["evaluate", "generation", str(changed), "--run", str(dataset / "run")]) == 2
    assert "README.md is missing or was changed" in capsys.readouterr().err


def test_a_student_is_sampled_in_its_own_steps_without_guidance(checkpoint, dataset, tmp_path):
    (tmp_path / "student.yaml").write_text(METHOD.format(kind="consistency", base=checkpoint))
    arguments = ["train", str(tmp_path / "student.yaml"), "--data", str(dataset / "run"), "--out"]
    assert invoke([*arguments, str(tmp_path / "student"), "--set", "loop.steps=1"]) == 0
    arguments = ["evaluate", "generation", str(tmp_path / "student"), "--run", str(dataset / "run"), "--out"]
    assert invoke([*arguments, str(tmp_path / "found"), "--pictures", "2", "--seeds", "0", "--device", "cpu"]) == 0
    asked = json.loads((tmp_path / "found" / "evaluation.json").read_bytes())["asked"]
    assert (asked["scheduler"], asked["steps"], asked["guidance"]) == ("lcm", 4, 1.0)
