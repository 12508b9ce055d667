"""Defects that this package must never have, and the part of the suite that catches each.

A defect is a patch in tests/defects, with what it breaks told at its top. It is applied to
a copy of the checkout, and a part of the suite is run there: on the simulation, so on any
system. It counts as caught if that part fails, reports what fits the defect, and passes
without the patch. If a patch no longer applies, put the defect into the package as it now
is, and `git diff` makes the patch anew.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import pytest

ROOT: Final = Path(__file__).parents[1]
PATCHES: Final = ROOT / "tests" / "defects"

SECONDS: Final = 240
"""How long a part may take before it counts as hanging without a report: it takes a few."""

Part: TypeAlias = tuple[str, ...]
"""A part of the suite: arguments of Python, in the folder of a checkout."""


def _tests(file: str, names: str) -> Part:
    """Return the tests of a file, on the simulation, whose names match."""
    return (
        *("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
        # By ending the process: a fixture may wait for the same that the test has waited for.
        *("--timeout=60", "--timeout-method=thread"),
        *("-k", f"simulated and ({names})", file),
    )


ENGINE: Final = _tests("tests/test_overlapped.py", "rule_8 or rule_9")
DISKS: Final = _tests("tests/disk/test_disk.py", "rule_3 or rule_4_fewer or rule_6")
RANGES: Final = _tests("tests/disk/test_conformance.py", "rule_2")
SOAK: Final[Part] = (
    *("-m", "tests.support.soak", "--seeds", "6", "--operations", "300"),
    *("--patience", "10"),
)


class Catch(NamedTuple):
    """What catches a defect, and how the report shows that it is this one."""

    part: Part
    report: str


CATCHES: Final = {
    "slot_freed_at_cancel": Catch(ENGINE, "AssertionError: slots in use"),
    "byte_count_ignored": Catch(DISKS, "DID NOT RAISE ShortTransferError"),
    "segments_dropped": Catch(
        SOAK, r"memory of #\d+ (Read|Write)File(Scatter|Gather) was .* while the kernel owned it"
    ),
    "resolved_before_flush": Catch(DISKS, r"\['done', 'done', 'flush'\]"),
    "closed_without_draining": Catch(ENGINE, r"was closed with \d+ requests and 0 flushes"),
    "sector_shifted_unchecked": Catch(RANGES, "DID NOT RAISE IllegalBlockError"),
    "bounce_unaligned": Catch(DISKS, "given an address, .* that is no multiple of 512"),
    "failure_taken_for_pending": Catch(
        SOAK, "it hangs, with 0 requests with the kernel and [1-9][0-9]* registered"
    ),
    "slot_reused_early": Catch(ENGINE, r"assert \(\d+ - \d+\) == 8"),
    "second_packet_lost": Catch(SOAK, "it hangs, with 0 requests with the kernel"),
}

BROKEN: Final = re.compile(
    r"(ImportError|ModuleNotFoundError|SyntaxError|NameError|AttributeError|INTERNALERROR)\b"
)
"""What a patch shows that does not break what it means to, but everything."""


class Outcome(NamedTuple):
    """How a run has ended. `code`: its exit code, None if it had to be ended."""

    code: int | None
    output: str


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


needs_processes = pytest.mark.skipif(
    _is_wine(), reason="shown on the system that Wine runs on; processes are slow there"
)
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def _environment() -> dict[str, str]:
    """Return the environment without what somebody has set for git or for this run of pytest."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "PYTEST_")) and name != "PYTHONSAFEPATH"
    }


def _copy(folder: Path) -> None:
    """Copy what the parts of the suite need, with line endings as in the patches."""
    ignored = shutil.ignore_patterns("__pycache__", "defects", ".hypothesis")
    for name in ("pyvhdmp", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path in (folder / "pyvhdmp").rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))


def _apply(patch: Path, folder: Path) -> None:
    """Apply a patch. Fails the test if it cannot be."""
    done = subprocess.run(
        ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn", "-"],
        cwd=folder,
        env=_environment() | {"GIT_CEILING_DIRECTORIES": str(folder.parent)},
        input=patch.read_bytes().replace(b"\r\n", b"\n"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
    )
    if done.returncode:
        output = done.stdout.decode(errors="replace")
        pytest.fail(f"{patch.name} no longer applies, and has to be made anew:\n{output}")


def _run(part: Part, folder: Path, files: Path) -> Outcome:
    """Run a part of the suite in a copy of the checkout."""
    own = (f"--basetemp={files}",) if "pytest" in part else ()
    process = subprocess.Popen(
        [sys.executable, *part, *own],
        cwd=folder,
        env=_environment() | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        _end_tree(process)
        output, _ = process.communicate()
        return Outcome(None, output)
    return Outcome(process.returncode, output)


def _end_tree(process: subprocess.Popen[str]) -> None:
    """End a process and those it has started."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=False)
    else:
        os.killpg(process.pid, signal.SIGKILL)  # its session is its own


Outcomes: TypeAlias = Callable[[str], tuple[Outcome, Outcome]]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcomes]:
    """Run what the selected tests need, side by side; hand out both outcomes by defect."""
    folder = tmp_path_factory.mktemp("defects")
    _copy(folder / "unpatched")
    selected = [
        str(item.callspec.params["defect"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == Path(__file__)
        and "outcomes" in item.fixturenames
    ]

    def run_patched(defect: str) -> Outcome:
        _copy(folder / defect)
        _apply(PATCHES / f"{defect}.patch", folder / defect)
        return _run(CATCHES[defect].part, folder / defect, folder / f"{defect}.files")

    unpatched: dict[Part, Future[Outcome]] = {}
    patched: dict[str, Future[Outcome]] = {}
    executor = ThreadPoolExecutor(os.cpu_count())
    try:
        for defect in selected:
            part = CATCHES[defect].part
            if part not in unpatched:
                files = folder / f"{len(unpatched)}.files"
                unpatched[part] = executor.submit(_run, part, folder / "unpatched", files)
            patched[defect] = executor.submit(run_patched, defect)
        yield lambda defect: (unpatched[CATCHES[defect].part].result(), patched[defect].result())
    finally:
        executor.shutdown(cancel_futures=True)


@needs_processes
@needs_git
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize("defect", CATCHES)
def test_the_suite_catches(defect: str, outcomes: Outcomes) -> None:
    without, with_defect = outcomes(defect)
    assert without.code == 0, f"fails without the defect, too:\n{without.output}"
    code, output = with_defect
    assert code is not None, f"hangs without a report:\n{output}"
    assert code != 0, f"is not caught:\n{output}"
    assert code == 1, f"ends with exit code {code}, which is no failure of a test:\n{output}"
    assert not BROKEN.search(output), f"breaks more than it means to:\n{output}"
    assert re.search(CATCHES[defect].report, output), f"is caught as something else:\n{output}"


def test_every_defect_has_a_patch_of_the_package_that_says_what_it_breaks() -> None:
    patches = {path.stem: path.read_text(encoding="utf-8") for path in PATCHES.iterdir()}
    assert patches.keys() == CATCHES.keys()
    for name, text in patches.items():
        sentence = text.partition("\n\n")[0]
        assert sentence.endswith("."), name
        assert "--- " not in sentence, name
        assert set(re.findall(r"^(?:---|\+\+\+) (.*?)/", text, re.MULTILINE)) == {"a", "b"}, name
        changed = re.findall(r"^\+\+\+ b/(.*)", text, re.MULTILINE)
        assert all(path.startswith("pyvhdmp/") for path in changed), name


@needs_git
def test_a_patch_that_no_longer_applies_says_so(tmp_path: Path) -> None:
    _copy(tmp_path / "copy")
    patch = tmp_path / "old.patch"
    patch.write_text("--- a/pyvhdmp/slots.py\n+++ b/pyvhdmp/slots.py\n@@ -1 +1 @@\n-gone\n+new\n")
    with pytest.raises(pytest.fail.Exception, match=r"old\.patch no longer applies"):
        _apply(patch, tmp_path / "copy")


@needs_git
def test_line_endings_do_not_matter(tmp_path: Path) -> None:
    _copy(tmp_path / "copy")
    changed = tmp_path / "copy" / "pyvhdmp" / "calls.py"
    before = changed.read_bytes()
    for line_end in (b"\n", b"\r\n"):
        changed.write_bytes(before)
        patch = tmp_path / "a.patch"
        text = (PATCHES / "slot_reused_early.patch").read_bytes().replace(b"\r\n", b"\n")
        patch.write_bytes(text.replace(b"\n", line_end))
        _apply(patch, tmp_path / "copy")
        assert changed.read_bytes() != before
        assert b"\r" not in changed.read_bytes()
