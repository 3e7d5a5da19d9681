"""What is wrong with the words that are passed to Beam, told in lines before a job is built.

Beam itself drops words that it does not know, and for some runners it downloads a jar where none is named.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn

from filters.errors import BadInput, first_line

_CONNECT = 5.0


def unknown_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line that no option class of Beam's takes, values of unknown options as well.

    Raises `BadInput` where Beam knows an option but not its value.
    """
    with _without_remarks():
        from apache_beam.options.pipeline_options import PipelineOptions

        parsers: list[Any] = []
        PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    (parser,) = parsers
    parser.error = _refuse  # argparse's own prints its usage, a page of it
    asked = [word for word in words if word in ("-h", "--help")]
    left = parser.parse_known_args([word for word in words if word not in asked])[1]
    return [*asked, *left]


def _refuse(message: str) -> NoReturn:
    raise BadInput(f"Beam does not understand {message.removeprefix('argument ')}")


def refuse_unknown(words: Sequence[str], own: Iterable[str]) -> None:
    """Raise `BadInput` for words that neither Beam nor the command (its options are `own`) knows."""
    unknown = unknown_words(words)
    if unknown:
        raise BadInput(f"neither assay nor Beam knows: {' '.join(unknown)}{meant(unknown, own)}")


def meant(unknown: Sequence[str], own: Iterable[str]) -> str:
    """Return the options that may have been meant, as the end of a line; empty where none is like any."""
    names = list(own)
    found = [near for word in unknown for near in get_close_matches(word.partition("=")[0], names, n=1, cutoff=0.75)]
    return f"; meant {', '.join(found)}?" if found else ""


def option_problems(runner: str, words: Sequence[str]) -> list[str]:
    """Return what keeps a job of that runner from being sent, a line each: Beam's own objections where we have none.

    Raises `BadInput` for a value that Beam does not understand, and for a runner that it does not have.
    """
    unknown = unknown_words(words)
    with _without_remarks():
        from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

        options = PipelineOptions(list(words))
    portable = options.view_as(PortableOptions)
    problems = [f"Beam does not know {word}" for word in unknown]
    if runner == "PortableRunner" and not portable.job_endpoint:
        problems.append("PortableRunner needs --job_endpoint=HOST:PORT")
    if portable.environment_type == "EXTERNAL" and not (portable.environment_config or portable.environment_options):
        problems.append("--environment_type=EXTERNAL needs --environment_config=HOST:PORT of the worker pool")
    if not portable.job_endpoint:
        problems += [*_spark(runner, options), *_flink(runner, options), *_prism(runner, options)]
    return problems or _objections(runner, options)


def _spark(runner: str, options: Any) -> Iterator[str]:
    """Look for what a Spark job needs on this machine, and for its master."""
    from apache_beam.options.pipeline_options import SparkRunnerOptions

    if runner != "SparkRunner":
        return
    spark = options.view_as(SparkRunnerOptions)
    if not spark.spark_job_server_jar:
        yield _no_jar("--spark_job_server_jar", "beam-runners-spark-3-job-server")
    elif "://" not in spark.spark_job_server_jar and not os.path.exists(spark.spark_job_server_jar):
        yield f"--spark_job_server_jar={spark.spark_job_server_jar}: no such file on this machine"
    if spark.spark_submit_uber_jar:
        if not spark.spark_rest_url:
            yield "--spark_submit_uber_jar needs --spark_rest_url=http://HOST:6066"
        return
    yield from _no_java()
    scheme, _, address = str(spark.spark_master_url).partition("://")
    if scheme == "spark":
        problem = not_reached(address.partition(",")[0])  # of several masters that stand by, the first
        if problem:
            yield f"--spark_master_url={spark.spark_master_url}: {problem}"


def _flink(runner: str, options: Any) -> Iterator[str]:
    """Look for what a Flink job needs on this machine; its JobManager is asked by whoever sends the job."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions

    if runner != "FlinkRunner":
        return
    flink = options.view_as(FlinkRunnerOptions)
    if not flink.flink_job_server_jar:
        yield _no_jar("--flink_job_server_jar", f"beam-runners-flink-{flink.flink_version}-job-server")
    if not flink.flink_submit_uber_jar:
        yield from _no_java()


def _prism(runner: str, options: Any) -> Iterator[str]:
    from apache_beam.options.pipeline_options import PrismRunnerOptions

    if runner == "PrismRunner" and not options.view_as(PrismRunnerOptions).prism_location:
        yield "--prism_location=PATH of the engine is missing; without it Beam would download one"


def _no_jar(option: str, name: str) -> str:
    from importlib.metadata import version

    return f"{option}=PATH is missing ({name}-{version('apache-beam')}.jar); without it Beam would download one"


def _no_java() -> Iterator[str]:
    if shutil.which("java") is None:
        yield "java is not on PATH, and Beam's jar runs here"


def _objections(runner: str, options: Any) -> list[str]:
    """Return what Beam's own validation says of the options, as it would when the pipeline is built."""
    with _without_remarks():
        from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
        from apache_beam.runners import create_runner

        try:
            found = PipelineOptionsValidator(options, create_runner(runner)).validate()
        except (ValueError, ImportError) as error:
            raise BadInput(f"--runner {runner}: {first_line(error)}") from None
    return [str(problem).rstrip(".") for problem in found]


def not_reached(address: str) -> str | None:
    """Return why nobody can be reached at HOST:PORT, None where somebody listens."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return "no HOST:PORT"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, OverflowError) as error:
        return f"cannot be reached ({first_line(error)})"
    return None


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep Beam's remarks about optional libraries and dropped words from the log for the block."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
