"""`assay evaluate generation`: what a checkpoint's pictures are worth, what they repeat, and whom they show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from filters.errors import BadInput
from filters.people_files import read_text_file
from pipelines.commands.common import JsonOption

_MAX_PROMPTS = 64 << 20


def generation(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint of assay train, or a training's folder.")
    ],
    run: Annotated[str, typer.Option("--run", help="Dataset that it was trained on.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the results; else evaluations/ beside the checkpoint."),
    ] = None,
    pictures: Annotated[
        int, typer.Option("--pictures", help="Pictures for the prompts, and as many for training captions.")
    ] = 64,
    losses: Annotated[int, typer.Option("--losses", help="Samples for the loss, unseen and seen.")] = 256,
    compared: Annotated[
        int, typer.Option("--compared", help="Training pictures to look for repetitions among.")
    ] = 50_000,
    seeds: Annotated[int, typer.Option("--seeds", help="Pictures a prompt of the audit of outputs; 0: none.")] = 8,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="One prompt a line; else captions of the dataset.")
    ] = None,
    features: Annotated[
        str, typer.Option("--features", help="inception, a model URI, or auto: inception where it is installed.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Decides noise, choices and splits.")] = 0,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Sampling steps; else 30, of a distilled checkpoint 4.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="Weight of the prompt; 1 is none. Else 3, of a distilled checkpoint 1."),
    ] = None,
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="Sampler; see docs/generation.md.")] = None,
    batch: Annotated[int, typer.Option("--batch", help="Pictures sampled at once.")] = 8,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    device: Annotated[
        Literal["auto", "cpu"], typer.Option("--device", help="auto takes the GPU where there is one.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a checkpoint: loss, distance, precision, prompt fit, memorisation, whom its pictures show."""
    texts = _prompts(prompts)

    import torch

    from filters.encoders.uri import load_encoder
    from pipelines.run.lock import locked
    from pipelines.run.storage import Store
    from training.evaluation.evaluate import Amounts, Job
    from training.evaluation.features import features_of
    from training.evaluation.subjects import dataset_of
    from training.evaluation.writing import folder_of, write
    from training.sampling.model import Running, checked_facts, load_model, newest
    from training.sampling.plan import MAX_SEED
    from training.sampling.sample import Settings
    from training.sampling.schedulers import default_guidance, default_kind, default_steps

    amounts = Amounts(pictures, losses, compared, seeds, batch)
    amounts.check()
    if not 0 <= seed < MAX_SEED:
        raise BadInput(f"--seed {seed}: 0 to 2**53")
    torch.set_num_threads(threads)
    place = newest(checkpoint)
    dataset = dataset_of(run, checked_facts(place))
    model = load_model(place, Running(device=device))
    settings = Settings(
        scheduler or default_kind(model.scheduler),
        default_steps(model.facts) if steps is None else steps,
        default_guidance(model.facts) if guidance is None else guidance,
        model.side,
        model.side,
    )
    settings.check(model)
    encoder = load_encoder(model.text.uri, threads)
    chosen = features_of(features, encoder, threads, model.device)
    folder = out if out is not None else folder_of(model)
    if folder.resolve().is_relative_to(place.resolve()):
        raise BadInput(f"--out {folder}: lies in the checkpoint, whose files must stay as they are; take another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder}: cannot be made ({error.strerror}); name another --out") from None
    store = Store(str(folder))
    with locked(store):
        store.sweep()
        job = Job(model, dataset, settings, chosen, encoder, amounts, seed, texts, _say)
        found = write(job, store)
    if as_json:
        print(found.model_dump_json(indent=1))
        return
    from training.evaluation.page import headlines

    for name, text in headlines(found):
        print(f"{name}: {text}")
    for text in found.limits:
        print(f"limit: {text}")
    print(folder / "evaluation.html")


def _prompts(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    found = tuple(line.strip() for line in read_text_file(file, _MAX_PROMPTS).splitlines() if line.strip())
    if not found:
        raise BadInput(f"{file}: holds no prompt; write one a line")
    if long := next((text for text in found if len(text) > 10_000), None):
        raise BadInput(f"{file}: a prompt of {len(long)} characters; at most 10000")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
