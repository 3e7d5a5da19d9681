"""What a reader must know before a figure is used, said in the document itself."""

from __future__ import annotations

from training.evaluation.document import Frechet, Memorisation, NotMeasured
from training.evaluation.frechet import PER_DIMENSION
from training.evaluation.subjects import Subjects


def limits_of(
    subjects: Subjects,
    frechet: Frechet | NotMeasured,
    repeats: Memorisation | NotMeasured,
    compared: int,
    encoder: str,
) -> list[str]:
    """Return the sentences that belong to these results."""
    found = []
    if subjects.basis == "none":
        found.append("Nothing was held out: figures on unseen samples are missing, or rest on training pictures.")
    if subjects.basis == "unseen":
        found.append("Nothing was held out: the unseen samples are those that the order had not reached yet.")
    if subjects.leaked:
        found.append(f"{subjects.leaked} held-out samples were seen in training all the same. This is a defect.")
    if isinstance(frechet, Frechet) and frechet.biased:
        found.append(
            f"The Fréchet distance is biased upwards: {min(frechet.generated, frechet.real)} pictures for "
            f"{frechet.dimension} dimensions; below {PER_DIMENSION * frechet.dimension} compare it with its baseline "
            "alone, and with no other evaluation."
        )
    if isinstance(repeats, Memorisation):
        if compared < len(subjects.seen):
            found.append(
                f"Memorisation was looked for among {compared} of {len(subjects.seen)} training pictures: repetitions "
                "of the others were not found."
            )
        if subjects.config.data.crop == "random" or subjects.config.data.flip:
            found.append("The training cropped or mirrored at random; it is compared with the middle of each picture.")
        if subjects.gone:
            found.append(f"{subjects.gone} samples that it has seen have left the dataset: not compared with.")
    if encoder == "builtin:mini":
        found.append(
            "builtin:mini is a weak encoder and has learnt from openclipart's drawings: on those, prompt fit and "
            "likeness look better than they are."
        )
    return found
