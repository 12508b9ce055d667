"""What is in .github: the linters accept it, and what is said there is so."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Final

import pytest

import pyvhdmp

ROOT: Final = Path(__file__).parents[2]
GITHUB: Final = ROOT / ".github"
CONTRIBUTING: Final = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")
WORKFLOW: Final = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

ZIZMOR: Final = shutil.which("zizmor", path=sysconfig.get_path("scripts"))


@pytest.mark.skipif(
    importlib.util.find_spec("check_jsonschema") is None,
    reason="needs the package check-jsonschema",
)
@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("vendor.github-workflows", "workflows/ci.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/bug.yml"),
    ],
)
def test_a_file_for_github_has_the_form_that_it_wants(schema: str, name: str) -> None:
    command = ["check_jsonschema", "--builtin-schema", schema, str(GITHUB / name)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(ZIZMOR is None, reason="needs the package zizmor")
def test_the_workflow_gives_nothing_away() -> None:
    assert ZIZMOR
    command = [ZIZMOR, "--offline", "--no-progress", str(GITHUB / "workflows")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_may_read_the_checkout_and_no_more() -> None:
    assert re.findall(r"permissions:.*\n(.*)\n\n", WORKFLOW) == ["  contents: read"]
    assert WORKFLOW.count("permissions:") == 1
    assert "secrets" not in WORKFLOW


def test_the_workflow_uses_actions_by_their_major_versions() -> None:
    used = re.findall(r"uses: (.*)", WORKFLOW)
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@v\d+", action), action


def test_the_workflow_runs_every_python_that_the_package_says_it_is_for() -> None:
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    run = set(re.findall(r'"([0-9.]+t?)"', matrix))
    promised = {
        classifier.rpartition(" ")[2]
        for classifier in PROJECT["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", classifier)
    }
    assert promised
    assert promised <= run
    assert {"3.13t", "3.14t"} <= run


def spans() -> list[str]:
    """Return what stands in backticks in the running text."""
    text = re.sub(r"^```.*?^```", "", CONTRIBUTING, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def commands() -> list[list[str]]:
    """Return the words of each command that is shown, without its assignments."""
    blocks = re.findall(r"^```\w+\n(.*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    return [
        [word for word in line.split() if not re.match(r"[A-Z]+=", word)]
        for block in blocks
        for line in block.splitlines()
    ]


def test_what_the_guide_names_is_there() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("pyvhdmp", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__)
    )
    seen = 0
    for span in spans():
        if span.startswith((".venv", "py ")):
            continue
        if "/" in span:
            assert (ROOT / span).exists(), span
            seen += 1
        elif re.fullmatch(r"\w+", span):
            assert re.search(rf"\b{span}\b", sources), span
            seen += 1
    assert seen > 20


def test_what_the_guide_has_you_run_is_there() -> None:
    seen = 0
    for program, *arguments in commands():
        assert program in (".venv/bin/python", "python3", "py") or (ROOT / program).is_file()
        seen += 1
        for option, value in itertools.pairwise(arguments):
            if option == "--group":
                assert value in PROJECT["dependency-groups"]
            elif option == "-m" and value not in ("pip", "venv", "pytest", "ruff", "mypy"):
                markers = PROJECT["tool"]["pytest"]["ini_options"]["markers"]
                assert any(marker.startswith(f"{value}:") for marker in markers), value
        for argument in arguments:
            if argument.startswith("tests/"):
                assert (ROOT / argument).exists(), argument
    assert seen > 10


def test_a_link_in_the_guide_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)", CONTRIBUTING, re.MULTILINE)
    links = re.findall(r"\]\(#(.*?)\)", CONTRIBUTING)
    assert links
    assert set(links) <= {heading.lower().replace(" ", "-") for heading in headings}


def test_the_changelog_begins_with_this_version_and_names_what_there_is() -> None:
    text = (GITHUB / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.*?)\]", text, re.MULTILINE)[0] == pyvhdmp.__version__
    from pyvhdmp import aio

    for name in re.findall(r"`(\w+)`", text):
        assert name == "pyvhdmp" or hasattr(pyvhdmp, name) or hasattr(aio, name), name
