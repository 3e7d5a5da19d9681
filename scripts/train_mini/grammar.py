"""Sentences such as captions of photos, made from WordNet's words by a small grammar of our own."""

from __future__ import annotations

import random
from collections.abc import Sequence

from train_mini.wordnet import Synset, WordNet


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    return text.split(",")


PEOPLE = _words(
    "man woman boy girl child kid person baby toddler lady gentleman guy teenager player runner rider cyclist "
    "skier climber surfer worker musician dancer swimmer couple bride soldier skateboarder hiker artist singer "
    "fisherman athlete student tourist"
)
GROUPS = _phrases(
    "people,men,women,boys,girls,children,kids,dogs,players,friends,cyclists,runners,horses,birds,teenagers,adults,"
    "musicians,dancers,hikers,spectators,tourists,students,soldiers,workers,ducks,cows,sheep"
)
PETS = _words("dog dog dog puppy cat horse bird cow sheep goat duck kitten")
COLOURS = _words(
    "red blue green yellow white black brown orange pink purple gray tan golden silver colorful dark bright striped "
    "plaid light-blue"
)
LOOKS = _words(
    "small large little big old young tall wet muddy happy smiling crowded empty snowy sandy grassy dirty wooden "
    "metal muscular shirtless bald blond furry tiny beautiful broken sunny rocky dry busy"
)
NUMBERS = _words("two three four five several many some six a-group-of a-couple-of a-crowd-of")
CLOTHES = _words(
    "shirt jacket hat cap coat dress helmet uniform jersey sweater t-shirt suit swimsuit bathing-suit scarf costume "
    "vest hoodie skirt bikini outfit pair-of-jeans pair-of-shorts pair-of-sunglasses backpack wetsuit tank-top"
)
PLACES = _words(
    "beach street park field snow grass water ocean lake river pool mountain hill road sidewalk forest city yard "
    "garden kitchen room restaurant store stage track court rock cliff bench stadium playground desert trail bridge "
    "building table couch bed boat crowd wall fence tree fountain puddle ramp staircase sand waves dirt-path "
    "parking-lot market subway-station train-station wooded-area swimming-pool"
)
ACTIONS = _words(
    "standing sitting walking running jumping playing swimming sleeping lying dancing singing laughing smiling eating "
    "drinking waiting working skiing surfing skateboarding snowboarding climbing hiking cycling fishing reading "
    "talking posing racing resting flying digging barking splashing sledding performing shopping cooking crawling "
    "kneeling leaning relaxing diving falling looking-up looking-away fighting hugging kissing wrestling "
    "rollerblading doing-a-trick having-fun sticking-out-his-tongue looking-at-the-camera"
)
HANDLING = _words(
    "holding carrying throwing catching kicking hitting pulling pushing chasing riding driving climbing watching "
    "looking-at eating playing-with standing-next-to sitting-on lying-on jumping-over running-through holding-up "
    "reaching-for leaning-against walking-past biting fetching painting cleaning selling wearing feeding petting "
    "using fixing opening taking-a-picture-of pointing-at playing cutting"
)
THINGS = _words(
    "ball stick frisbee toy bicycle bike motorcycle car truck horse surfboard skateboard tennis-ball soccer-ball "
    "football basketball rope camera guitar book umbrella bag cup bottle sign balloon flag cake ice-cream-cone "
    "microphone baby bucket phone kite swing slide bone bird fish log hurdle tent sled drum newspaper cart wagon "
    "bat racket snowball leash chair stroller cigarette hand"
)
BEFORE = _words(
    "in on at near by next-to in-front-of behind under over through across along into beside above around outside "
    "inside between past towards down up off against"
)
SCENES = _phrases(
    "at night,in the rain,on a sunny day,in the snow,in the background,in black and white,at sunset,in mid-air,"
    "with trees in the background,while others watch,in the distance,during a game,under a blue sky,in the dark,"
    "in front of a crowd,on a cloudy day,during the day,close up,from above,with mountains behind"
)
STYLES = _phrases(
    "a photo of {},a picture of {},{},a drawing of {},a close-up of {},an image of {},clip art of {},{} on a white "
    "background,a cartoon of {},an icon of {},a black and white photo of {},the {},{} outside"
)

#: Roots of the trees of WordNet whose words stand in for the words above: part of what a caption may name.
_ROOTS = {
    "person": "n00007846",
    "animal": "n00015388",
    "clothing": "n03051540",
    "vehicle": "n04524313",
    "structure": "n04341686",
    "furniture": "n03405725",
    "equipment": "n03294048",
    "instrument": "n03575240",
    "food": "n07555863",
    "plant": "n00017222",
    "ground": "n09287968",
    "water": "n09225146",
    "sport": "n00523513",
}


class Captions:
    """A stream of made captions. The same seed gives the same captions."""

    def __init__(self, wordnet: WordNet, classes: Sequence[str], seed: int) -> None:
        self._random = random.Random(seed)
        self._wordnet = wordnet
        self._classes = list(classes)
        self._words: dict[str, tuple[list[str], list[float]]] = {}
        for name, root in _ROOTS.items():
            self._words[name] = self._weighed(wordnet.under(root))
        verbs = [s for s in wordnet.synsets.values() if s.key[0] == "v" and s.lexfile in (29, 35, 36, 38, 39, 33, 34)]
        self._words["verb"] = self._weighed(verbs)
        adjectives = [s for s in wordnet.synsets.values() if s.key[0] == "a" and s.lexfile == 0]
        self._words["adjective"] = self._weighed(adjectives)

    def make(self, number: int) -> list[str]:
        """Return `number` different captions."""
        found: dict[str, None] = {}
        while len(found) < number:
            text = " ".join(self._caption().replace("-", " ").split())
            if self._random.random() < 0.4:
                text = text[0].upper() + text[1:] + self._random.choice(["", " .", "."])
            found[text] = None
        return list(found)

    def _weighed(self, synsets: list[Synset]) -> tuple[list[str], list[float]]:
        words: dict[str, float] = {}
        for synset in synsets:
            lemma = synset.lemmas[0]
            if lemma.count(" ") < 2 and not lemma[0].isupper() and lemma.replace(" ", "").isalpha():
                words[lemma] = words.get(lemma, 0.0) + (0.2 + self._wordnet.count(synset)) ** 0.5
        return list(words), list(words.values())

    def _word(self, *kinds: str) -> str:
        words, weights = self._words[self._random.choice(kinds)]
        return self._random.choices(words, weights)[0]

    def _either(self, common: Sequence[str], share: float, *kinds: str) -> str:
        return self._random.choice(common) if self._random.random() < share else self._word(*kinds)

    def _adjective(self) -> str:
        roll = self._random.random()
        if roll < 0.45:
            return self._random.choice(COLOURS)
        return self._random.choice(LOOKS) if roll < 0.8 else self._word("adjective")

    def _article(self, phrase: str) -> str:
        if self._random.random() < 0.2:
            return f"the {phrase}"
        return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"

    def _some(self, noun: str, share: float = 0.35) -> str:
        return self._article(f"{self._adjective()} {noun}" if self._random.random() < share else noun)

    def _subject(self) -> str:
        roll = self._random.random()
        if roll < 0.45:
            who = self._some(self._either(PEOPLE, 0.75, "person"))
        elif roll < 0.70:
            who = self._some(self._either(PETS, 0.6, "animal"), 0.5)
        elif roll < 0.82:
            who = f"{self._random.choice(NUMBERS)} {self._random.choice(GROUPS)}"
        elif roll < 0.92:
            who = self._some(self._random.choice(self._classes))
        else:
            who = f"{self._subject()} and {self._subject()}"
        return f"{who} {self._wearing()}" if roll < 0.45 and self._random.random() < 0.4 else who

    def _wearing(self) -> str:
        clothes = self._either(CLOTHES, 0.7, "clothing")
        how = self._random.choice(["in", "wearing", "with", "dressed in"])
        piece = self._article(f"{self._adjective()} {clothes}" if self._random.random() < 0.7 else clothes)
        return f"{how} {piece}"

    def _place(self) -> str:
        place = self._either(PLACES, 0.7, "structure", "ground", "water", "furniture", "vehicle", "plant")
        return f"{self._random.choice(BEFORE)} {self._some(place, 0.3)}"

    def _thing(self) -> str:
        roll = self._random.random()
        if roll < 0.2:
            return self._some(self._random.choice(self._classes))
        return self._some(
            self._either(THINGS, 0.5, "vehicle", "equipment", "instrument", "food", "animal", "furniture", "plant"),
            0.4,
        )

    def _doing(self) -> str:
        roll = self._random.random()
        if roll < 0.4:
            return self._random.choice(ACTIONS)
        if roll < 0.85:
            return f"{self._random.choice(HANDLING)} {self._thing()}"
        if roll < 0.92:
            return f"playing {self._word('sport')}"
        return ing(self._word("verb"))

    def _caption(self) -> str:
        roll = self._random.random()
        if roll < 0.10:
            thing = self._some(self._random.choice(self._classes)) if self._random.random() < 0.5 else self._thing()
            return self._random.choice(STYLES).format(thing)
        if roll < 0.16:
            return f"{self._thing()} {self._place()}"
        if roll < 0.20:
            return f"{self._thing()} and {self._thing()}"
        text = f"{self._subject()} {self._random.choice(['is ', 'are ', '', '', ''])}{self._doing()}"
        if self._random.random() < 0.2:
            text += f" while {self._doing()}"
        if self._random.random() < 0.65:
            text += f" {self._place()}"
        if self._random.random() < 0.15:
            text += f" {self._random.choice(SCENES)}"
        if self._random.random() < 0.08:
            text += f" as {self._subject()} watches"
        return text


def ing(verb: str) -> str:
    """Return the present participle of a verb, its particle after it: `pick up` gives `picking up`."""
    first, _, rest = verb.partition(" ")
    if first.endswith("ie"):
        first = first[:-2] + "y"
    elif first.endswith("e") and not first.endswith(("ee", "ye", "oe")):
        first = first[:-1]
    elif (
        len(first) > 2
        and first[-1] not in "aeiouwxyh"
        and first[-2] in "aeiou"
        and first[-3] not in "aeiou"
        and len(first) < 5
    ):
        first += first[-1]
    return f"{first}ing {rest}".strip()
