"""What type checkers know of the package, and that every public name is tried on them."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.public import members, modules

ROOT = Path(__file__).parents[2]
CONSUMER = Path(__file__).with_name("consumer.py")

needs_pyright = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("pyright") is None,
    reason="needs a Linux with pyright, which the group dev has",
)


def pyright(folder: Path, *arguments: str | Path) -> dict[str, object]:
    """Run pyright beside the checkout, so that the package is one of others to it."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=250,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


@needs_pyright
def test_pyright_knows_the_type_of_all_that_is_public(tmp_path: Path) -> None:
    report = pyright(tmp_path, "--verifytypes", "pyvhdmp", "--ignoreexternal")
    found = report["typeCompleteness"]
    assert isinstance(found, dict)
    unknown = [
        diagnostic["message"]
        for symbol in found["symbols"]
        if not symbol["isTypeKnown"]
        for diagnostic in symbol["diagnostics"]
    ]
    assert unknown == []
    assert found["completenessScore"] == 1
    assert found["exportedSymbolCounts"]["withKnownType"] > 1000  # it has found the package


@needs_pyright
@pytest.mark.parametrize(("platform", "version"), [("Linux", "3.11"), ("Windows", "3.13")])
def test_pyright_finds_nothing_wrong_with_a_consumer(
    tmp_path: Path, platform: str, version: str
) -> None:
    report = pyright(tmp_path, CONSUMER, "--pythonplatform", platform, "--pythonversion", version)
    assert report["generalDiagnostics"] == []
    summary = report["summary"]
    assert isinstance(summary, dict)
    assert summary["filesAnalyzed"] == 1


@needs_pyright
def test_pyright_would_find_what_is_wrong_with_a_consumer(tmp_path: Path) -> None:
    text = CONSUMER.read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(text.replace("Future[bytes])", "Future[bytearray])"), encoding="utf-8")
    report = pyright(tmp_path, wrong)
    found = report["generalDiagnostics"]
    assert isinstance(found, list)
    assert {one["rule"] for one in found} == {"reportAssertTypeFailure"}
    assert len(found) == text.count("Future[bytes])")


def test_the_consumer_uses_every_public_name_and_exempts_nothing() -> None:
    text = CONSUMER.read_text(encoding="utf-8")
    assert not re.search(r"#\s*(type:\s*ignore|pyright:\s*ignore|noqa)|\bAny\b|\bcast\b", text)
    tree = ast.parse(text)
    used = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, (ast.Name, ast.Attribute))
    }
    for module in modules():
        assert set(module.__all__) <= used, module.__name__


def test_no_public_signature_says_any() -> None:
    for name, member in members():
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function):
            assert not re.search(r"\bAny\b", str(function.__annotations__)), name
