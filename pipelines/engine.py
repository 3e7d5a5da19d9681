"""Where the work runs: one Beam pipeline a stage, over part numbers, never over samples.

Every unit of work is idempotent (it writes a part and its marker), so it may run twice, be killed at any
point, or run in a plain loop with the same result.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from filters.errors import AssayError, BadInput, GateRefused, TooManyFailures
from pipelines.beam_options import option_problems
from pipelines.part_report import count_for_runner, log_in_worker, printed, reported, runner_counts, this_process
from pipelines.portable import cancel, flink_address, heeding_terminate, unreachable

if TYPE_CHECKING:
    from pipelines.run.storage import Store
    from pipelines.signs import Signs

_LOG = logging.getLogger("assay")

#: Runners that are refused by name, and why.
REFUSED = {
    "DirectRunner": "with a network it downloads and runs another engine; use FnApiRunner",
    "SwitchingDirectRunner": "with a network it downloads and runs another engine; use FnApiRunner",
    "DaskRunner": "measured: it corrupts tagged outputs without an error",
    "DaskBagRunner": "measured: it corrupts tagged outputs without an error",
    "PySparkRunner": "measured: it corrupts tagged outputs without an error; use SparkRunner",
}

#: Beam's own runner in this process, the default.
LOCAL = "FnApiRunner"

#: A plain loop in this process; the same units, no Beam.
PLAIN = "plain"

Result = TypeVar("Result")

# what a traceback shows of the line that makes the text does not match
_TOKEN = re.compile(r"ASSAY-ERROR(\{[\\]*\"message.*?\})ASSAY-END")


@dataclass(frozen=True)
class Engine:
    """The runner by name, the worker processes on this machine, and all further Beam options as given.

    `log_parts` prints a line for each finished part. `accelerator` is what stages whose model runs faster on one ask
    the cluster for, in Beam's words (`type:nvidia-l4;count:1;install-nvidia-driver`); other stages ask for none.
    """

    runner: str = LOCAL
    options: tuple[str, ...] = ()
    workers: int = 1
    log_parts: bool = False
    accelerator: str | None = None

    def __post_init__(self) -> None:
        if self.runner in REFUSED:
            raise BadInput(f"--runner {self.runner} is refused: {REFUSED[self.runner]}")
        if self.workers < 1:
            raise BadInput(f"--workers {self.workers}: give 1 or more")
        if self.workers > 1 and self.runner != LOCAL:
            raise BadInput(
                f"--workers starts processes on this machine, for {LOCAL}; {self.runner} has its own options for that"
            )
        if self.runner == PLAIN and self.options:
            raise BadInput(f"--runner {PLAIN} takes no further options: {' '.join(self.options)}")


#: Set once the user has interrupted this process; signals belong to the whole process.
_INTERRUPTED = threading.Event()


def interrupt(signum: int, frame: object) -> None:
    """Handle SIGINT: raise KeyboardInterrupt, and remember it.

    Python drops an exception that a handler raises inside a destructor or a weak reference's callback (imports run
    many of those), so that the interrupt alone can get lost.
    """
    _INTERRUPTED.set()
    raise KeyboardInterrupt


def heed_interrupt() -> None:
    """Raise KeyboardInterrupt where one got lost."""
    if _INTERRUPTED.is_set():
        raise KeyboardInterrupt


class PartWork(Protocol):
    """Work on parts: picklable, loads its models once a process, writes each part and its marker."""

    def load(self) -> None:
        """Load models; called once in each process before `run`."""
        ...

    def run(self, index: int) -> None:
        """Do part `index` unless its marker says that it is done."""
        ...


@runtime_checkable
class Accelerated(Protocol):
    """Work that can tell whether its models run faster on an accelerator."""

    def wants_accelerator(self) -> bool:
        """Tell so, for the recipe in hand."""
        ...


class StageError(AssayError):
    """An error of a worker, carried to the driver as text; `exit_code` is that of the original."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_parts(engine: Engine, stage: str, work: PartWork, indices: Sequence[int]) -> None:
    """Run `work` on every part. Raises `AssayError` with one line; parts done so far stay done."""
    heed_interrupt()
    if not indices:
        return
    if engine.runner == PLAIN:
        with printed(engine.log_parts):
            work.load()
            for index in indices:
                reported(stage, index, lambda part=index: work.run(part))  # type: ignore[misc]
        return
    signs = _signs(engine, stage, work)
    build = part_pipeline(engine, stage, work, indices, signs.store if signs else None)
    with printed(engine.log_parts):
        run_pipeline(replace(engine, workers=min(engine.workers, len(indices))), stage, build, signs)


def _signs(engine: Engine, stage: str, work: PartWork) -> Signs | None:
    """Return where the workers' signs of life are looked for; of the runners only one never notices a dead worker."""
    if engine.runner != "PortableRunner":
        return None
    from pipelines.signs import OfRun, Signs

    return Signs(work.run_dir.store, stage) if isinstance(work, OfRun) else None


def part_pipeline(
    engine: Engine, stage: str, work: PartWork, indices: Sequence[int], beside: Store | None = None
) -> Callable[[Any], None]:
    """Return what builds a stage's pipeline: part numbers, spread over the workers, each part's work.

    Workers give signs of life in the store `beside`, where there is one.
    """
    beam = load_beam()
    # workers of this machine print their lines where --log parts asks for them
    driver = None if engine.runner == LOCAL else this_process()

    class RunPart(beam.DoFn):  # type: ignore[misc,name-defined]
        def setup(self) -> None:
            if driver is not None:
                log_in_worker(driver)
            with self.alive(f"load-{secrets.token_hex(4)}"):
                carried(work.load)

        def process(self, index: int) -> Iterable[int]:
            with self.alive(f"{index:05d}"):
                report = carried(lambda: reported(stage, index, lambda: work.run(index)))
            count_for_runner(report)
            yield index

        def alive(self, part: str) -> AbstractContextManager[None]:
            if beside is None:
                return nullcontext()
            from pipelines.signs import given

            return given(beside, stage, part)

    step = beam.ParDo(RunPart())
    if engine.accelerator and isinstance(work, Accelerated) and work.wants_accelerator():
        step = step.with_resource_hints(accelerator=engine.accelerator)

    def build(pipeline: Any) -> None:
        _ = (
            pipeline
            | f"{stage}: parts" >> beam.Create(list(indices))
            | f"{stage}: spread" >> beam.Reshuffle()
            | f"{stage}: work" >> step
        )

    return build


def run_pipeline(engine: Engine, stage: str, build: Callable[[Any], None], signs: Signs | None = None) -> None:
    """Build a pipeline with `build(pipeline)` and run it to its end. Raises `AssayError`.

    Where a worker that gives `signs` of life gives no more, the job is cancelled, with `WorkerDied`. Interrupted, or
    told to end by SIGTERM, it cancels the job of a cluster and raises `KeyboardInterrupt`.
    """
    load_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    # unique, so that this very job can be found on a cluster
    name = f"assay-{stage}-{secrets.token_hex(4)}"
    problems = option_problems(engine.runner, engine.options) if engine.options or engine.runner != LOCAL else []
    if problems:
        raise BadInput(f"--runner {engine.runner}: {'; '.join(problems)}")
    try:
        options = PipelineOptions([*engine.options, f"--job_name={name}"])

        if engine.workers > 1:
            _with_workers(engine, options, lambda runner: _run(runner, options, stage, build))
        elif engine.runner == LOCAL:
            _run(_runner(LOCAL), options, stage, build)
        else:
            with heeding_terminate(interrupt):
                _run(_runner(engine.runner), options, stage, build, name, signs)
    except (AssayError, KeyboardInterrupt):
        raise
    except Exception as error:
        found = _TOKEN.search(str(error))
        if found is None:
            if _interrupted(error):
                raise KeyboardInterrupt from None
            problem = unreachable(error) if engine.runner != LOCAL and not isinstance(error, TimeoutError) else None
            if problem is not None:
                raise BadInput(
                    f"--runner {engine.runner}: {problem}; assay doctor with the same options tells more"
                ) from None
            raise
        carried = json.loads(found.group(1).encode().decode("unicode_escape"))
        raise StageError(carried["message"], carried["code"]) from None


def _run(
    runner: Any,
    options: Any,
    stage: str,
    build: Callable[[Any], None],
    name: str | None = None,
    signs: Signs | None = None,
) -> None:
    """Run one pipeline; `name` is that of a job on a cluster, which has to be cancelled."""
    from apache_beam import Pipeline

    from pipelines.workers import WorkerDied, watched

    pipeline = Pipeline(runner=runner, options=options)
    build(pipeline)
    result = pipeline.run()
    try:
        if signs is None:
            result.wait_until_finish()
        else:
            watched(signs, result.wait_until_finish)
    except (KeyboardInterrupt, TimeoutError, WorkerDied):  # the second by whoever waits no longer
        if name is not None:
            cancel(result, name, flink_address(options))
        raise
    counts = runner_counts(result)
    if counts:
        _LOG.info("%s: %s, by the runner's counters", stage, ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))


def _with_workers(engine: Engine, options: Any, work: Callable[[Any], None]) -> None:
    from apache_beam.options.pipeline_options import DirectOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from pipelines.workers import watched, worker_pool

    options.view_as(DirectOptions).direct_num_workers = engine.workers
    with worker_pool(engine.workers, engine.log_parts) as (pool, environment):
        watched(pool, lambda: work(FnApiRunner(default_environment=environment)))


def _interrupted(error: BaseException | None) -> bool:
    """Tell whether an interrupt is behind an error; Beam's workers wrap it like any other exception."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or str(error).startswith("KeyboardInterrupt"):
            return True
        error = error.__cause__ or error.__context__
    return False


def _runner(name: str) -> Any:
    from apache_beam.runners import create_runner

    if name == LOCAL:
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return FnApiRunner()
    try:
        return create_runner(name)
    except (ValueError, ImportError) as error:
        raise BadInput(f"--runner {name}: {str(error).splitlines()[0]}") from None


def carried(call: Callable[[], Result]) -> Result:
    """Return what `call` returns; turn an error that a user can act on into a text that survives any runner."""
    try:
        return call()
    except (AssayError, OSError) as error:
        body = json.dumps({"message": explain(error), "code": exit_code(error)})
        # ASCII, and doubly escaped: runners print errors through repr
        raise RuntimeError(f"ASSAY-ERROR{body.encode('unicode_escape').decode()}ASSAY-END") from error


def explain(error: BaseException) -> str:
    """Return one line for an error that a user can act on."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        hint = "; free space and run the same command again, it resumes" if error.errno in (28, 122) else ""
        return f"{place}{error.strerror}{hint}"
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error: its own, or 2."""
    return error.exit_code if isinstance(error, AssayError | BadInput | GateRefused | TooManyFailures) else 2


def load_beam() -> Any:
    """Return Beam, imported without its remarks about optional libraries; we carry its workers' errors ourselves."""
    logging.disable(logging.WARNING)
    try:
        import apache_beam
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    return apache_beam
