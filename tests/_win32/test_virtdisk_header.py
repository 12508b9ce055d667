"""The tables of virtdisk.h, judged by a C compiler and the header of mingw-w64.

That header is older than the SDK's, and wrong in one place. What it has not, or has otherwise, is
listed below, and the compiler is asked about that as well: it must find fault with exactly what
is in the lists.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import struct
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

from tests.support.virtdisk_h import DEFINES, ENUMERATIONS, FUNCTIONS, GUIDS, LAYOUTS

COMPILERS = {8: "x86_64-w64-mingw32-gcc", 4: "i686-w64-mingw32-gcc"}

LISTED_FOR = 10
"""The mingw-w64 that the lists were made with, Debian 12's. A later one may lack less."""

LACKING = re.compile(
    r"""
    (RAW_SCSI|FORK)_VIRTUAL_DISK_ .* |
    (RawSCSI|Fork|CompleteFork)VirtualDisk | GetAllAttachedVirtualDiskPhysicalPaths |
    OPEN_VIRTUAL_DISK_PARAMETERS\.Version3 .* | OPEN_VIRTUAL_DISK_VERSION_3 |
    OPEN_VIRTUAL_DISK_RW_DEPTH_DEFAULT |
    OPEN_VIRTUAL_DISK_FLAG_( PARENT_CACHED_IO | VHDSET_FILE_ONLY | NO_WRITE_HARDENING |
        IGNORE_RELATIVE_PARENT_LOCATOR | SUPPORT_ .* ) |
    CREATE_VIRTUAL_DISK_PARAMETERS\.Version[34] .* | CREATE_VIRTUAL_DISK_VERSION_[34] |
    CREATE_VIRTUAL_DISK_PARAMETERS\.Version2\.PhysicalSectorSizeInBytes |
    CREATE_VIRTUAL_DISK_PARAMETERS_DEFAULT_(BLOCK|SECTOR)_SIZE |
    CREATE_VIRTUAL_DISK_FLAG_( CREATE_BACKING_STORAGE | USE_ .* | PRESERVE_ .* | VHD_SET_ .* |
        SPARSE_FILE | PMEM_COMPATIBLE | SUPPORT_ .* ) |
    ATTACH_VIRTUAL_DISK_PARAMETERS\.Version2 .* | ATTACH_VIRTUAL_DISK_VERSION_2 |
    ATTACH_VIRTUAL_DISK_FLAG_( NO_SECURITY_DESCRIPTOR | BYPASS_DEFAULT_ENCRYPTION_POLICY |
        NON_PNP | RESTRICTED_RANGE | SINGLE_PARTITION | REGISTER_VOLUME | AT_BOOT ) |
    DEPENDENT_DISK_FLAG_(SUPPORT_ .* | ALWAYS_ALLOW_SPARSE) |
    GET_STORAGE_DEPENDENCY_FLAG_PARENTS |
    COMPACT_VIRTUAL_DISK_FLAG_NO_ .* | EXPAND_VIRTUAL_DISK_FLAG_NOTIFY_CHANGE |
    MIRROR_VIRTUAL_DISK_FLAG_(SKIP_MIRROR_ACTIVATION | ENABLE_SMB_COMPRESSION |
        IS_LIVE_MIGRATION) |
    TAKE_SNAPSHOT_VHDSET_FLAG_WRITEABLE | MODIFY_VHDSET_FLAG_WRITEABLE_SNAPSHOT |
    VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET | VIRTUAL_DISK_MAXIMUM_CHANGE_TRACKING_ID_LENGTH |
    MERGE_VIRTUAL_DISK_DEFAULT_MERGE_DEPTH
    """,
    re.VERBOSE,
)
OTHERWISE = re.compile(
    r"""
    # Smaller, as it lacks the largest version.
    OPEN_VIRTUAL_DISK_PARAMETERS | CREATE_VIRTUAL_DISK_PARAMETERS |
    ATTACH_VIRTUAL_DISK_PARAMETERS | ATTACH_VIRTUAL_DISK_PARAMETERS\.Version1 (\.Reserved)? |
    # Wrong: it lacks the PhysicalSectorSizeInBytes in front of them.
    CREATE_VIRTUAL_DISK_PARAMETERS\.Version2 (\.( ParentPath | SourcePath | OpenFlags |
        ParentVirtualStorageType | SourceVirtualStorageType | ResiliencyGuid ))? |
    # With one entry, where the SDK's has room for none.
    STORAGE_DEPENDENCY_INFO (\.Version[12]Entries)?
    """,
    re.VERBOSE,
)

Checks = list[tuple[str, str]]
"""What is checked, and a statement of C that does not compile if it is not so."""


def assertion(left: str, right: int) -> str:
    return f'_Static_assert({left} == {right}, "");'


def checks_for(pointer_size: int) -> Checks:
    checks: Checks = []
    for structure, field, extents in LAYOUTS:
        first, second = extents[pointer_size]
        if field:
            offset, size = f"offsetof({structure}, {field})", f"sizeof((({structure} *)0)->{field})"
            statement = f"{assertion(offset, first)} {assertion(size, second)}"
            checks.append((f"{structure}.{field}", statement))
        else:
            size, alignment = f"sizeof({structure})", f"_Alignof({structure})"
            statement = f"{assertion(size, first)} {assertion(alignment, second)}"
            checks.append((structure, statement))
    for constants in [DEFINES, *ENUMERATIONS.values()]:
        checks += [(name, assertion(name, value)) for name, value in constants.items()]
    for name, kinds in FUNCTIONS.items():
        # Where the SDK's says const, mingw's does not.
        parameters = ", ".join(kinds).replace("const ", "")
        checks.append((name, f"DWORD (WINAPI *function)({parameters}) = {name};"))
    return checks


def compiled(compiler: str, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Have a program compiled. It is one file, in which the header's messages give line numbers."""
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "program.c").write_text(program)
        return subprocess.run(
            [compiler, "-D_WIN32_WINNT=0x0A00", "-Werror", *options, "program.c"],
            cwd=folder,
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=60,
        )


HEADERS = "#include <stddef.h>\n#include <windows.h>\n#include <virtdisk.h>\n"


def faults_in(checks: Checks, compiler: str) -> dict[str, list[str]]:
    """Return what the compiler finds fault with, and its messages.

    Each check is a function of its own, as a compiler reports a name that it does not know
    only once for each function, and is one line of the program.
    """
    functions = [f"void check{n}(void) {{ {text} }}\n" for n, (_, text) in enumerate(checks)]
    quiet = ("-Wno-unused-variable", "-fmax-errors=0", "-fsyntax-only")
    done = compiled(compiler, HEADERS + "".join(functions), *quiet)
    first_line = HEADERS.count("\n") + 1
    faults: dict[str, list[str]] = {}
    for line, message in re.findall(r"^program\.c:(\d+):\d+: error: (.*)", done.stderr, re.M):
        name, _ = checks[int(line) - first_line]
        faults.setdefault(name, []).append(message)
    assert bool(faults) == bool(done.returncode), done.stderr
    return faults


@functools.cache
def faults_of_the_header(pointer_size: int) -> dict[str, list[str]]:
    return faults_in(checks_for(pointer_size), COMPILERS[pointer_size])


@functools.cache
def mingw_version(compiler: str) -> int:
    macros = compiled(compiler, "#include <_mingw.h>\n", "-E", "-dM").stdout
    version = re.search(r"^#define __MINGW64_VERSION_MAJOR (\d+)", macros, re.M)
    assert version, macros
    return int(version[1])


@pytest.mark.parametrize("pointer_size", COMPILERS)
def test_a_c_compiler_finds_the_layouts_constants_and_functions_as_the_tables_say(
    pointer_size: int,
) -> None:
    faults = faults_of_the_header(pointer_size)
    assert {
        name: messages
        for name, messages in faults.items()
        if not LACKING.fullmatch(name) and not OTHERWISE.fullmatch(name)
    } == {}
    assert len(faults) < len(checks_for(pointer_size)) / 2  # so most of it has been checked


def test_what_is_left_out_is_really_lacking_or_otherwise() -> None:
    faults = [faults_of_the_header(pointer_size) for pointer_size in COMPILERS]
    if {mingw_version(compiler) for compiler in COMPILERS.values()} != {LISTED_FOR}:
        pytest.skip(f"the lists are those of mingw-w64 {LISTED_FOR}")
    unknown = re.compile(r"undeclared|has no member named|unknown type name")
    for name, _ in checks_for(8):
        messages = [message for found in faults for message in found.get(name, [])]
        if LACKING.fullmatch(name):
            assert all(name in found for found in faults), name
            assert any(map(unknown.search, messages)), (name, messages)
        elif OTHERWISE.fullmatch(name):
            assert messages, name
            assert set(messages) == {'static assertion failed: ""'}, name


MISTAKES = [
    ("GET_VIRTUAL_DISK_INFO", "INFO) == 32", "INFO) == 36"),
    ("VIRTUAL_STORAGE_TYPE", "_Alignof(VIRTUAL_STORAGE_TYPE) == 4", "4 == 8"),
    ("VIRTUAL_DISK_PROGRESS.CurrentValue", ", CurrentValue) == 8", ", CurrentValue) == 4"),
    ("VIRTUAL_STORAGE_TYPE.DeviceId", "->DeviceId) == 4", "->DeviceId) == 8"),
    ("VIRTUAL_DISK_ACCESS_READ", f"== {0xD0000}", f"== {0xF0000}"),
    ("VIRTUAL_STORAGE_TYPE_DEVICE_VHDX", "== 3", "== 2"),
    ("DetachVirtualDisk", ", ULONG)", ", ULONG64)"),
    ("CompactVirtualDisk", ", LPOVERLAPPED)", ")"),
    ("AddVirtualDiskParent", "PCWSTR", "PCSTR"),
]


@pytest.mark.parametrize("pointer_size", COMPILERS)
def test_a_mistake_in_a_table_is_found(pointer_size: int) -> None:
    right = dict(checks_for(pointer_size))
    mistaken = {name: right[name].replace(good, bad) for name, good, bad in MISTAKES}
    assert all(mistaken[name] != right[name] for name in mistaken)
    compiler = COMPILERS[pointer_size]
    assert faults_in([(name, right[name]) for name in mistaken], compiler) == {}
    assert faults_in(list(mistaken.items()), compiler).keys() == mistaken.keys()


@pytest.mark.parametrize("compiler", COMPILERS.values())
@pytest.mark.parametrize("name", GUIDS)
def test_the_header_has_the_same_vendors(name: str, compiler: str) -> None:
    text = compiled(compiler, "#define INITGUID\n" + HEADERS, "-E").stdout
    definition = re.search(rf"\b{name} = ([^;]+)", text)
    assert definition, name
    one, two, three, *rest = (int(number, 16) for number in re.findall("0[xX]\\w+", definition[1]))
    assert str(uuid.UUID(bytes=struct.pack(">IHH8B", one, two, three, *rest))) == GUIDS[name]
