"""`assay --version` tells what is installed, and nothing else."""

from importlib import metadata

from filters import __version__
from pipelines.commands.main import invoke


def test_the_version_is_that_of_the_package(capsys):
    assert invoke(["--version"]) == 0
    assert capsys.readouterr().out == f"assay {__version__}\n"
    assert metadata.version("assay-data") == __version__
