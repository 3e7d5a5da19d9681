"""`assay generate`: pictures from a checkpoint, each guarded, watermarked, signed and registered."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from filters import environment
from filters.errors import BadInput
from filters.people_files import read_text_file
from pipelines.commands.common import JsonOption, print_json

if TYPE_CHECKING:
    from pipelines.run.directory import Run
    from training.hallmark.claim import Part
    from training.sampling.generate import Origin, Result
    from training.sampling.model import Model

_MAX_PROMPTS = 64 << 20


def generate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint of assay train, or a training's folder.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")],
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="What to show; may be given again.")] = None,
    prompts: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help="One prompt a line.")] = None,
    negative: Annotated[str, typer.Option("--negative", help="What not to show.")] = "",
    run: Annotated[
        str | None, typer.Option("--run", help="Dataset that it was trained on: look-alikes are refused.")
    ] = None,
    registry: Annotated[
        str | None, typer.Option("--registry", help="Opt-out registry; else the one that the dataset's recipe names.")
    ] = None,
    fewer_guards: Annotated[
        bool, typer.Option("--fewer-guards", help="Go on without --run or --registry; the credential says so.")
    ] = False,
    creators: Annotated[
        Literal["refuse", "allow"],
        typer.Option("--creators", help="Prompts that name a creator whom the registry denies."),
    ] = "refuse",
    nsfw: Annotated[float, typer.Option("--nsfw", help="NSFW probability from which a picture is refused.")] = 0.8,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="DIR", help="Folder of assay keys init.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Private key (PEM); else in the environment.")] = None,
    chain: Annotated[Path | None, typer.Option("--chain", help="Its certificates (PEM).")] = None,
    watermark_key: Annotated[Path | None, typer.Option("--watermark-key", help="Secret of the marks.")] = None,
    hallmarks: Annotated[
        str | None,
        typer.Option("--hallmarks", help=f"Register of issued pictures; else ${environment.HALLMARKS}, else in DIR."),
    ] = None,
    time_authority: Annotated[
        str | None, typer.Option("--time-authority", metavar="URL", help="Time stamps (RFC 3161).")
    ] = None,
    provider: Annotated[str, typer.Option("--provider", help="Who answers for the pictures.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Seed of each prompt's first picture.")] = 0,
    count: Annotated[int, typer.Option("--count", help="Pictures a prompt.")] = 1,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Sampling steps; else 30, of a distilled checkpoint 4.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="Weight of the prompt; 1 is none. Else 3, of a distilled checkpoint 1."),
    ] = None,
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="Sampler; see docs/generation.md.")] = None,
    size: Annotated[str | None, typer.Option("--size", metavar="WxH", help="Pixels; else as it was trained.")] = None,
    candidates: Annotated[int, typer.Option("--candidates", help="Sample so many, keep the best by --select.")] = 1,
    select: Annotated[str, typer.Option("--select", help="similarity, aesthetic, technical; with commas.")] = "",
    image: Annotated[Path | None, typer.Option("--image", help="Picture to start from.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="Where it may change: white.")] = None,
    strength: Annotated[float, typer.Option("--strength", help="How much of --image is noised away.")] = 0.8,
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", metavar="DIR", help="Checkpoint of method lora or textual_inversion on CHECKPOINT."),
    ] = None,
    adapter_scale: Annotated[float, typer.Option("--adapter-scale", help="How much LoRA counts; 0 is none.")] = 1.0,
    adapter_run: Annotated[
        str | None, typer.Option("--adapter-run", help="Dataset of the adapter: look-alikes are refused.")
    ] = None,
    base_run: Annotated[
        list[str] | None,
        typer.Option(
            "--base-run", help="Dataset of a student's teacher: look-alikes are refused; may be given again."
        ),
    ] = None,
    control: Annotated[
        Path | None, typer.Option("--control", metavar="DIR", help="Checkpoint of method controlnet on CHECKPOINT.")
    ] = None,
    control_image: Annotated[Path | None, typer.Option("--control-image", help="Picture whose edges steer.")] = None,
    control_scale: Annotated[float, typer.Option("--control-scale", help="How much they count; 0 is none.")] = 1.0,
    diversify: Annotated[
        str | None, typer.Option("--diversify", metavar="AXES", help="People without an attribute get one: people.")
    ] = None,
    fair_axis: Annotated[
        str | None,
        typer.Option(
            "--fair-axis",
            metavar="NAME",
            help="Guide pictures to even shares: gender, age, brightness, warmth, or a YAML file of your own.",
        ),
    ] = None,
    fair_scale: Annotated[float, typer.Option("--fair-scale", help="How strongly; 1 conditions on the value.")] = 1.0,
    mark: Annotated[Literal["pixels", "noise", "both"], typer.Option("--mark", help="Watermark.")] = "pixels",
    form: Annotated[
        Literal["PNG", "JPEG", "WEBP"], typer.Option("--format", case_sensitive=False, help="File format.")
    ] = "PNG",
    batch: Annotated[int, typer.Option("--batch", help="Pictures sampled at once.")] = 4,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], typer.Option("--precision", help="Of the denoiser.")
    ] = "fp32",
    device: Annotated[
        Literal["auto", "cpu"], typer.Option("--device", help="auto takes the GPU where there is one.")
    ] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile: slow start, faster steps.")] = False,
    tiling: Annotated[bool, typer.Option("--tiling", help="Decode in tiles: less memory.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make pictures. Exit code 0: all written; 3: a guard refused one; 4: one could not be marked; 2: bad input."""
    texts = _prompts(prompt, prompts)
    if not 1 <= batch <= 4096:
        raise BadInput(f"--batch {batch}: 1 to 4096")

    from training.sampling.preparing import (
        GuardNames,
        KeyNames,
        adapter_compared,
        bases_compared,
        guards_of,
        sealer_of,
        start_of,
    )
    from training.sampling.preparing import watermark_key as secret_of

    names = KeyNames(keys, key, chain, watermark_key)
    sealer, secret = sealer_of(names, time_authority), secret_of(names)

    from training.hallmark.claim import ClaimConfig, Facts, SourceType
    from training.hallmark.marking import Hallmark, HallmarkConfig, carried_parent
    from training.hallmark.posthoc import RivaGan
    from training.hallmark.registry import open_register
    from training.sampling.adapter import adapted
    from training.sampling.control import steering_of
    from training.sampling.diversify import diversifier_of
    from training.sampling.fair_fitting import fair_name, fair_of, require_scale
    from training.sampling.generate import Generator
    from training.sampling.model import Running, load_model, newest
    from training.sampling.noise import Shading
    from training.sampling.parts import bases_of, part_of
    from training.sampling.plan import Plan
    from training.sampling.sample import Sampler, Settings
    from training.sampling.schedulers import default_guidance, default_kind, default_steps
    from training.sampling.select import require_criteria, selector_of

    model = load_model(newest(checkpoint), Running(precision, device, compiled and adapter is None, tiling))
    worn = None
    if adapter is not None:
        model, worn = adapted(model, adapter, adapter_scale, compiled)
    with ExitStack() as stack:
        width, height = _size(size, model.side)
        known = model.scheduler
        steps = default_steps(model.facts) if steps is None else steps
        guidance = default_guidance(model.facts) if guidance is None else guidance
        settings = Settings(scheduler or default_kind(known), steps, guidance, width, height, strength)
        settings.check(model)
        start, digest = start_of(image, mask, (width, height))
        steering = steering_of(control, control_image, control_scale, model, (width, height))
        criteria = tuple(name.strip() for name in select.split(",") if name.strip())
        require_criteria(criteria)
        steered = "" if steering is None else steering.digest
        parts = (*bases_of(model.facts), *(part_of(one.facts) for one in (worn, steering) if one))
        plan = Plan(tuple(texts), settings, seed, count, negative, candidates, criteria, mark, digest, steered)
        plan = replace(plan, adapter="" if worn is None else worn.digest)
        changer = diversifier_of(diversify) if diversify is not None else None
        plan = replace(plan, diversify=f"{changer.axes.name}@{changer.axes.digest}" if changer is not None else "")
        if fair_axis is not None:
            require_scale(fair_scale)
            plan = replace(plan, fair=fair_name(fair_axis, fair_scale))
        plan.check()
        parent = None
        if image is not None:
            named = _origin(model, None, run, provider, parts)
            trial = Facts(named.model, named.dataset, texts[0], named.provider, datetime.now(timezone.utc))
            parent = carried_parent(image.read_bytes(), f"--image {image}", sealer, trial)
        wanted = GuardNames(
            run, registry, fewer_guards, creators == "refuse", nsfw, adapter_run, tuple(base_run or ())
        )
        _make(out)
        guards, dataset = guards_of(wanted, model, out, stack, _say, worn)
        fair = fair_of(fair_axis, fair_scale, model, dataset, out, _say) if fair_axis is not None else None
        url = hallmarks or os.environ.get(environment.HALLMARKS) or str(out / "hallmarks.sqlite")
        register = stack.enter_context(open_register(url, create=True))
        source: SourceType = "trainedAlgorithmicMedia" if start is None else "compositeWithTrainedAlgorithmicMedia"
        config = HallmarkConfig(form, claim=ClaimConfig(source_type=source))
        generator = Generator(
            plan,
            Sampler(model, settings, start, None if steering is None else steering.control, fair),
            guards,
            selector_of(criteria, model.text.uri),
            Hallmark(
                sealer,
                register,
                config,
                None if mark == "noise" else RivaGan(secret, threads=1),
                parent=parent,
            ),
            _origin(model, dataset, run, provider, parts),
            None if mark == "pixels" else Shading(secret),
            batch,
            {
                "precision": precision,
                **bases_compared(wanted, dataset, model.facts),
                **({} if worn is None else worn.said(adapter_compared(wanted, dataset, worn))),
                **({} if steering is None else steering.parameters),
            },
            None if steering is None else steering.pixels,
            changer,
        )
        if sealer.key.development:
            _say("signed with a DEVELOPMENT chain: not for release")
        result = generator.run(out)
    _report(result, as_json)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder}: cannot be made ({error.strerror})") from None


def _report(result: Result, as_json: bool) -> None:
    if as_json:
        told = {"diversified": result.diversified} if result.diversified else {}
        print_json({"written": result.written, "refused": result.refused, "before": result.before, **told})
    else:
        for body in result.written:
            print(body["file"])
    for body in result.refused:
        _say(f"{body['file']}: not written: {body['code']}: {body['detail']}")
    if result.unmarked:
        raise typer.Exit(4)
    if result.refused:
        raise typer.Exit(3)


def _origin(
    model: Model, dataset: Run | None, named: str | None, provider: str, parts: tuple[Part, ...] = ()
) -> Origin:
    """Return what credentials say of model and dataset. A local dataset is named by its folder, not its whole path."""
    from training.hallmark.claim import DatasetFacts, ModelFacts
    from training.sampling.generate import Origin

    facts = model.facts
    stated = dataset.recipe.provider if dataset is not None else None
    location = (named if "://" in named else Path(named).name) if named else ""
    return Origin(
        provider or (stated.name if stated is not None and stated.name else "") or "not stated",
        DatasetFacts(str(facts["data"]["name"]), str(facts["datasets"][-1]), location),
        ModelFacts(str(facts["name"]), f"step {facts['step']}", model.identity),
        parts,
    )


def _prompts(given: list[str] | None, file: Path | None) -> list[str]:
    found = list(given or [])
    if file is not None:
        lines = read_text_file(file, _MAX_PROMPTS).splitlines()
        found += [line.strip() for line in lines if line.strip()]
    if not found:
        raise BadInput("no prompt: give --prompt, or --prompts with a file of one a line")
    return found


def _size(text: str | None, side: int) -> tuple[int, int]:
    if text is None:
        return side, side
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(text) < 12):
        raise BadInput(f"--size {text}: write WIDTHxHEIGHT in pixels, for example 64x64")
    return int(width), int(height)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
