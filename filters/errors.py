"""Errors that a user can act on. The command line turns each into one line and an exit code."""

#: What the exit codes of the command line mean.
EXIT_CODES = {
    0: "done",
    1: "a defect of Assay, with its traceback; of several training processes, the others end by it too",
    2: "bad input, recipe or arguments, or a disk, store or worker that failed: one line says what and where; "
    "after the latter the same command resumes",
    3: "a check says no",
    4: "more failures than the recipe allows, numbers that are no longer finite, "
    "or a picture that could not be marked",
    130: "interrupted; the same command resumes",
}


class AssayError(Exception):
    """Base of all errors that a user can act on; `exit_code` is what the command line returns."""

    exit_code = 2


class BadInput(AssayError):
    """A missing, unreadable or impossible input, recipe or argument: exit code 2."""

    exit_code = 2


class GateRefused(AssayError):
    """A gate or the compliance check says no: exit code 3."""

    exit_code = 3


class TooManyFailures(AssayError):
    """More samples failed than the recipe allows: exit code 4."""

    exit_code = 4


def first_line(error: BaseException, limit: int = 200) -> str:
    """Return the first line of an error's message, at most `limit` characters; its class where it has none."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:limit]
