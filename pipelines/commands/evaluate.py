"""`assay evaluate`: an encoder or detector on labelled data that the user brings, or a checkpoint of a training."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from typer.core import TyperCommand, TyperGroup

from filters.decoding import Undecodable, decode
from filters.errors import BadInput
from filters.scoring import Scorer
from pipelines.commands.evaluate_dedup import dedup
from pipelines.commands.labelled import LabelledFolder, read_labels

#: Commands of a floor above, by name: where they are, and their line of help. Loaded when one is called.
_ABOVE = {
    "generation": (
        "training.evaluation.command:generation",
        "Measure a checkpoint: loss, distance, prompt fit, memorisation, whom its pictures show.",
    )
}


class _Group(TyperGroup):
    """The commands of this module, and those that are named as strings."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_ABOVE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _ABOVE:
            return TyperCommand(name=cmd_name, help=_ABOVE[cmd_name][1])  # for the overview
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, (_load(name) if name in _ABOVE else command), rest


def _load(name: str) -> Any:
    module, _, attribute = _ABOVE[name][0].partition(":")
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name=name)(getattr(importlib.import_module(module), attribute))
    return typer.main.get_command(alone)


app = typer.Typer(
    cls=_Group, add_completion=False, no_args_is_help=True, help="Measure an encoder, a detector or a checkpoint."
)
app.command()(dedup)


@app.callback()
def evaluate() -> None:
    """Measure an encoder, a detector or a checkpoint."""


@app.command()
def retrieval(
    images: Annotated[Path, typer.Option("--images", help="Folder of the pictures.")],
    captions: Annotated[Path, typer.Option("--captions", help='JSON: {"file.jpg": ["caption", ...], ...}.')],
    model: Annotated[str, typer.Option("--model", help="Model URI of the encoder.")] = "builtin:mini",
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0: all.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")] = False,
) -> None:
    """Text-to-image recall over all captions, and AUC of matched against mismatched pairs."""
    texts = read_captions(captions)
    pictures = PictureFolder(images, list(texts))

    from filters.encoders.uri import load_encoder
    from filters.evaluation import evaluate_retrieval

    encoder = load_encoder(model, threads)
    pictures.draft_side = encoder.draft_side()
    result = evaluate_retrieval(encoder, pictures, texts)
    if as_json:
        typer.echo(json.dumps({**result, "model": encoder.model_id(), "jpeg_side": pictures.draft_side}))
        return
    typer.echo(f"{encoder.model_id()} on {result['images']} pictures with {result['captions']} captions")
    typer.echo("  ".join(f"{name} {result[name]:.3f}" for name in ("r@1", "r@5", "r@10", "auc")))
    typer.echo(f"{result['ms_per_image']:.1f} ms a picture")


_Images = Annotated[Path, typer.Option("--images", help="Folder of the pictures.")]
_Labels = Annotated[Path, typer.Option("--labels", help="CSV: file,label (1 = has it), optionally caption.")]
_Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads a model.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")]


@app.command()
def watermark(images: _Images, labels: _Labels, threads: _Threads = 1, as_json: _Json = False) -> None:
    """How well `watermark` separates pictures with a visible watermark from those without."""
    pictures = LabelledFolder(images, read_labels(labels))

    from filters.scorers.watermark import WatermarkScorer, weights

    _measure(WatermarkScorer(threads=threads), pictures, "watermark", float(weights()["threshold"]), as_json)


@app.command()
def nsfw(
    images: _Images,
    labels: _Labels,
    column: Annotated[
        str, typer.Option("--column", help="nsfw (Open-NSFW), nsfw_parts or nsfw_combined (need nudenet).")
    ] = "nsfw",
    bound: Annotated[
        float, typer.Option("--bound", min=0.0, max=1.0, help="Bound at which fpr and tpr are given.")
    ] = 0.8,
    threads: _Threads = 1,
    as_json: _Json = False,
) -> None:
    """How well an NSFW score separates unsafe pictures from safe ones."""
    if column not in ("nsfw", "nsfw_parts", "nsfw_combined"):
        raise BadInput(f"--column must be nsfw, nsfw_parts or nsfw_combined, not {column!r}")
    pictures = LabelledFolder(images, read_labels(labels))
    if column == "nsfw":
        from filters.scorers.nsfw import NsfwScorer

        _measure(NsfwScorer(threads=threads), pictures, column, bound, as_json)
        return
    from filters.scorers.nudity import NudityScorer

    _measure(NudityScorer(threads=threads), pictures, column, bound, as_json)


def _measure(scorer: Scorer, pictures: LabelledFolder, column: str, bound: float, as_json: bool) -> None:
    """Score the pictures and print the figures."""
    from filters.evaluation_labels import evaluate_labelled

    scorer.load()
    result = evaluate_labelled(scorer, pictures, column, bound)
    if as_json:
        typer.echo(json.dumps({**result, "column": column, "model": scorer.model_id()}))
        return
    typer.echo(
        f"{column} of {scorer.model_id()} on {result['positives']} pictures with and {result['negatives']} without"
    )
    typer.echo(
        f"auc {result['auc']:.3f}  tpr {result['tpr@fpr=0.01']:.3f} at fpr 0.01 (above {result['threshold']:.4g})"
    )
    typer.echo(f"at the bound {bound:g}: tpr {result['tpr']:.3f}  fpr {result['fpr']:.4f}")
    failed = ", ".join(f"{reason} {count}" for reason, count in result["failures"].items())
    typer.echo(f"{result['ms_per_image']:.1f} ms a picture; failed: {failed or 'none'}")


def read_captions(path: Path) -> dict[str, list[str]]:
    """Read `{"file.jpg": ["caption", ...], ...}`. Raises `BadInput` where the file is anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f'{path} must hold {{"file.jpg": ["caption", ...], ...}}')
    for name, texts in found.items():
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise BadInput(f"{path}: {name!r} must have a list of at least one caption")
    return found


class PictureFolder(Mapping[str, Image.Image]):
    """The named pictures of a folder, decoded as the pipeline does, each at the moment that it is asked for.

    `draft_side`: see `filters.decoding.decode`.
    Raises `BadInput` where the folder or a named file is missing, lies outside the folder, or cannot be decoded.
    """

    draft_side: int | None = None

    def __init__(self, folder: Path, names: list[str]) -> None:
        if not folder.is_dir():
            raise BadInput(f"no folder at {folder}")
        root = folder.resolve()
        self._paths = {name: root / name for name in names}
        missing = [name for name, path in self._paths.items() if not path.is_file()]
        if missing:
            raise BadInput(f"{len(missing)} captioned pictures are not in {folder}, {missing[0]!r} among them")
        outside = [name for name, path in self._paths.items() if not path.resolve().is_relative_to(root)]
        if outside:
            raise BadInput(f"{outside[0]!r} lies outside of {folder}")

    def __getitem__(self, name: str) -> Image.Image:
        path = self._paths[name]
        try:
            return decode(path.read_bytes(), draft_side=self.draft_side).image
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from error
        except Undecodable as error:
            raise BadInput(f"{path}: {error}") from error

    def __contains__(self, name: object) -> bool:
        return name in self._paths  # Mapping's own would decode the picture

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
