"""The entry point `assay`: names its commands as strings and loads each only when it is called.

So `assay --help` imports neither torch nor Beam, and no floor imports a floor above it.
"""

from __future__ import annotations

import atexit
import errno
import importlib
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from filters import __version__, environment
from filters.errors import AssayError
from filters.terminal import quiet_when_closed, tell
from pipelines.engine import interrupt

#: Command name -> (module:attribute, one line of help). An attribute is a function or a `typer.Typer`.
COMMANDS = {
    "corpus": ("pipelines.commands.corpus:app", "Get a sample corpus of real, public-domain pictures."),
    "run": (
        "pipelines.commands.run:run",
        "Do all of a recipe: ingest, score, dedup, decide, audit, balance, manifest, report.",
    ),
    "ingest": ("pipelines.commands.stages:ingest", "Read the input into sample rows."),
    "score": ("pipelines.commands.stages:score", "Compute every score once."),
    "dedup": ("pipelines.commands.stages:dedup", "Find duplicate pairs and clusters."),
    "decide": ("pipelines.commands.stages:decide", "Judge by rules; write the ledger."),
    "balance": ("pipelines.commands.stages:balance", "Write the kept samples to shards; write the manifest."),
    "audit": ("pipelines.commands.audit:audit", "Tell who is in a run and whom its rules removed; judge its gates."),
    "replay": ("pipelines.commands.replay:replay", "Decide again with other bounds; no model runs."),
    "optout": ("pipelines.commands.optout:app", "Opt-outs: read them, keep them in a registry, apply them."),
    "check": ("pipelines.commands.check:check", "Tell whether a dataset may be trained on."),
    "export": ("pipelines.commands.export:export", "Write documents about a dataset for law, catalogues and users."),
    "waive": ("pipelines.commands.waive:waive", "Let a gate that did not pass pass, by name and with a reason."),
    "status": ("pipelines.commands.status:status", "Tell counts, stage, rate and failures of a run."),
    "report": ("dashboards.command:report", "Write a run's report as one HTML file."),
    "serve": ("dashboards.command_serve:serve", "Show the runs below a folder in a browser."),
    "recipe": ("pipelines.commands.recipe:app", "Check a recipe, or print its JSON schema."),
    "manifest": ("pipelines.commands.manifest:app", "Verify a dataset's manifest."),
    "train": ("training.command:train", "Train a diffusion model on a dataset that the check clears."),
    "generate": (
        "training.command_generate:generate",
        "Make pictures with a checkpoint: guarded, watermarked, signed, registered.",
    ),
    "lineage": (
        "training.command_lineage:lineage",
        "Tell where a picture, a checkpoint or a sample comes from, and where it went.",
    ),
    "attribution": (
        "training.command_lineage:attribution",
        "Tell each creator's share in what a checkpoint was trained on.",
    ),
    "keygen": ("pipelines.commands.manifest:keygen", "Make an Ed25519 key for signing manifests."),
    "evaluate": ("pipelines.commands.evaluate:app", "Measure a scorer on labelled data of your own."),
    "keys": ("training.hallmark.command_keys:app", "Keys that sign and mark generated pictures."),
    "verify": (
        "training.hallmark.command_verify:verify",
        "Tell whose a picture is, whether it was changed, and what it was made from.",
    ),
    "doctor": ("pipelines.commands.doctor:doctor", "Tell what is installed and which models load."),
}


#: Errors of disks and permissions, which a user can act on, as on every error that names its file; any other is a
#: defect and shows its traceback.
_TOLD = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class LazyGroup(TyperGroup):
    """A group whose commands are modules, imported when one is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stub that carries the help line, for the overview."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the real command for a call."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, (load_command(name) if stub is not None and name else None), rest


def load_command(name: str) -> Any:
    """Import a command's module and return it as a click command."""
    module_name, _, attribute = COMMANDS[name][0].partition(":")
    target = getattr(importlib.import_module(module_name), attribute)
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        takes_more = "context" in target.__annotations__
        app.command(name=name, context_settings=settings if takes_more else None)(target)
        target = app
    command = typer.main.get_command(target)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup, add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _version(asked: bool) -> None:
    if asked:
        print(f"assay {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version and end.")
    ] = False,
) -> None:
    """Curation and governance for image-text data: every decision in a ledger, every opt-out honoured."""


def main() -> None:
    """Run the command line; turn errors that a user can act on into one line and an exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, interrupt)
    # `assay … | head -1`: what nobody reads is dropped, and the exit code stays the command's own
    sys.stdout, sys.stderr = quiet_when_closed(sys.stdout), quiet_when_closed(sys.stderr)
    end(invoke(sys.argv[1:]))


def end(code: int) -> NoReturn:
    """End this process by `code`.

    One of several that train together (WORLD_SIZE, as torchrun sets it) ends without the interpreter's own ending: a
    thread of torch's gloo that still holds a tensor then aborts the process (pull request 179291 of pytorch), so that
    now and then a refusal ended by SIGABRT, not by 3.
    """
    if os.environ.get(environment.WORLD_SIZE, "1") in ("", "1"):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


def invoke(arguments: list[str]) -> int:
    """Run one command; return its exit code, one of `EXIT_CODES`."""
    click_error = _click_exception()
    try:
        result = app(arguments, standalone_mode=False)
        if result == 130:  # typer's own answer to an interrupt, without a word
            return _interrupted()
        return result if isinstance(result, int) else 0
    except AssayError as error:
        return _say(str(error), error.exit_code)
    except click_error as error:
        error.show()
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except OSError as error:
        if error.errno not in _TOLD and not (error.filename and error.strerror):
            raise
        from pipelines.engine import explain

        return _say(explain(error), 2)


def _click_exception() -> Any:
    """Return ClickException: typer carries its own click and does not export the base of its usage errors."""
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _interrupted() -> int:
    return _say("interrupted; run the same command again, it resumes", 130)


def _say(message: str, code: int) -> int:
    tell(f"assay: {' '.join(message.split())}", stream=sys.stderr)
    return code
