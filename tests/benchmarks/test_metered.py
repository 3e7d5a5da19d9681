"""What a command took, with everything that it started."""

import os
import sys
import time

import pytest

from benchmarks.metered import metered

SPIN = "import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.4: pass\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="adopting orphans is Linux's own")


def python(code, tmp_path, **options):
    return metered([sys.executable, "-S", "-c", code], tmp_path / "m", **options)


def test_output_status_and_environment_come_back(tmp_path):
    found = python("import os, sys; print(os.environ['A']); sys.exit('no')", tmp_path, env={"A": "b"})
    assert (found.status, found.output, found.errors) == (1, "b\n", "no\n")
    assert 0 < found.peak_mb < 200


def test_time_of_a_child_counts(tmp_path):
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {SPIN!r}])"
    assert 0.4 <= python(code, tmp_path).cpu < 5
    assert python("pass", tmp_path).cpu < 0.4


@linux
def test_time_of_a_worker_that_outlives_its_parent_counts(tmp_path):
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {SPIN!r}])"
    assert 0.4 <= python(code, tmp_path).cpu < 5


@linux
def test_what_stays_behind_is_ended(tmp_path):
    code = (
        "import subprocess, sys\n"
        "sleep = [sys.executable, '-S', '-c', 'import time; time.sleep(600)']\n"
        "print(subprocess.Popen(sleep, start_new_session=True).pid)"
    )
    found = python(code, tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(found.output), 0)


def test_a_command_over_its_limit_is_killed(tmp_path):
    start = time.monotonic()
    assert python("import time; time.sleep(600)", tmp_path, limit=0.5).status == 124
    assert time.monotonic() - start < 60


def test_a_command_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no-such-command"):
        metered(["no-such-command"], tmp_path / "m")
