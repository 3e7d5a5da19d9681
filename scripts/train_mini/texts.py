"""The rights-clean texts that the text tower learns from."""

from __future__ import annotations

import random
from collections.abc import Sequence

from train_mini.grammar import STYLES, Captions
from train_mini.openclipart import Drawing
from train_mini.wordnet import WordNet

#: Which of `variants` is the caption that drawings are measured with.
TITLE_AND_KEYWORDS = 1


def variants(drawing: Drawing) -> list[str]:
    """Return six captions of one drawing: what it may be called by its title, keywords and description."""
    title, words = drawing.title, list(drawing.keywords)
    some = ", ".join(words[:3])
    return [
        title,
        drawing.caption(),
        f"clip art of {title.lower()}",
        f"{title} ({some})" if some else title.lower(),
        some or title,
        drawing.description or " ".join(dict.fromkeys([title.lower(), *words[:5]])),
    ]


def training_texts(
    wordnet: WordNet, classes: Sequence[Sequence[str]], drawings: Sequence[Drawing], made: int, seed: int = 0
) -> list[str]:
    """Return different texts in a fixed random order: made captions, WordNet, openclipart's training part.

    `classes`: the names of each of ImageNet's classes.
    """
    chance = random.Random(seed)
    names = [lemma for lemmas in classes for lemma in lemmas[:2]]
    texts = Captions(wordnet, names, seed).make(made)
    texts += [style.format(lemmas[0]) for lemmas in classes for style in STYLES[:2]]
    texts += [lemma for lemmas in classes for lemma in lemmas]
    for synset in wordnet.synsets.values():
        if synset.key[0] in "nv" or chance.random() < 0.3:
            lemmas = ", ".join(synset.lemmas)
            roll = chance.random()
            if roll < 0.30:
                texts.append(synset.definition)
            elif roll < 0.40:
                texts.append(f"{lemmas}: {synset.definition}")
            if synset.key[0] == "n" and roll > 0.6:
                texts.append(chance.choice([*STYLES[:5], "{}"]).format(chance.choice(synset.lemmas)))
        texts += synset.examples[:1]
    for drawing in drawings:
        if drawing.part == "train":
            texts += variants(drawing)
    unique = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    chance.shuffle(unique)
    return unique
