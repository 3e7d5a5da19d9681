"""The page about the command line holds every command and every option, and depends on nothing but the code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from filters.errors import EXIT_CODES
from pipelines.commands.main import COMMANDS, load_command

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "commands.md").read_text()

#: Packages of the extras: the page is the same without them.
EXTRAS = (
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "fastapi",
    "starlette",
    "uvicorn",
    "s3fs",
    "pg8000",
    "onnx",
)


def sections(page=PAGE):
    """Return the lines below each heading."""
    parts = re.split(r"^#+ (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def called(name, command):
    """Yield a command and what is in it, by name."""
    yield name, command
    for inner, below in getattr(command, "commands", {}).items():
        yield from called(f"{name} {inner}", below)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_each_option_stands_in_the_page_with_its_meaning(name):
    found = sections()
    assert f"](#assay-{name})" in PAGE
    for full, command in called(f"assay {name}", load_command(name)):
        section = found[full]
        assert " ".join(command.help.split("\n\n")[0].split()) in section
        assert section.count("\n| `") == len(command.params), full
        for parameter in command.params:
            assert (parameter.help or "").strip(), f"{full} {parameter.name}: give it a help text"
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert parameter.param_type_name == "argument" or re.search(
                    rf"^\| .*`{option}`", section, re.MULTILINE
                )


def test_the_command_of_a_floor_above_stands_in_the_page():
    assert "| `--losses` | whole number | `256` | " in sections()["assay evaluate generation"]


def test_the_page_names_choices_bounds_words_repetition_and_variables():
    found = sections()
    assert "| `--creators` | `refuse` or `allow` | `refuse` |" in found["assay generate"]
    assert "| `--verdict` | `same` or `different` |  |" in found["assay optout review"]
    assert "| `--port` | whole number, 0 to 65535 | `8321` |" in found["assay serve"]
    assert "| `--limit` | whole number, at least 1 | `100` |" in found["assay optout list"]
    assert "| `--set` | `A.B=VALUE` … |  |" in found["assay run"]
    assert "Or `ASSAY_CONTACT`. |" in found["assay optout check"]


def test_every_exit_code_of_the_code_is_explained():
    floors = ("filters", "pipelines", "training", "dashboards")
    code = "".join(path.read_text() for floor in floors for path in (ROOT / floor).rglob("*.py"))
    used = re.findall(r"\bexit_code = (\d+)|\bExit\((\d+)\)|_say\(.*, (\d+)\)", code)
    assert {int("".join(groups)) for groups in used} <= EXIT_CODES.keys()
    assert all(f"| {number} | {meaning} |" in PAGE for number, meaning in EXIT_CODES.items())


def test_the_page_depends_on_no_terminal_home_locale_or_extra(tmp_path):
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"  # None: as if not installed
        f"sys.path[:0] = {[str(ROOT), str(ROOT / 'scripts')]!r}\n"
        "from commands_page import commands_page\n"
        "sys.stdout.buffer.write(commands_page().encode())\n"
    )
    named = {"HOME": str(tmp_path), "COLUMNS": "30", "TERM": "dumb", "LC_ALL": "C", "ASSAY_TOKEN": "x" * 16}
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, **named}, capture_output=True, check=True)
    assert PAGE.endswith(done.stdout.decode())
