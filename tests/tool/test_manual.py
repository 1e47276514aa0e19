#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The manual against header, help texts and counters: nothing is missing in it, and its markup is right."""
import os
import re
import shutil
import subprocess

from kit import COMMANDS, MANUAL, SOURCE, Skip, counters, main, run, test

def pages():
    """{file name: text} of the manual, the pages made by the build included."""
    found = {path.name: path for path in (SOURCE / "tools" / "man").glob("larder*.[1357]")}
    for made in (SOURCE / "tools" / "man").glob("*.in"):
        found[made.stem] = MANUAL / made.stem
    return {name: path.read_text() for name, path in found.items()}


def exported():
    headers = [SOURCE / "include" / "larder.h", *sorted((SOURCE / "include" / "larder").glob("*.h"))]
    return re.findall(r"^LARDER_API [^;(]*?(larder_\w+)\(", "".join(header.read_text() for header in headers), re.M)


@test
def mandoc_finds_no_fault_in_the_manual():
    if not shutil.which("mandoc"):
        raise Skip("there is no mandoc")
    for name, text in pages().items():
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=text, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0 and not done.stdout, (name, done.stdout)


@test
def every_command_has_a_page_with_its_options():
    for command in COMMANDS:
        text = pages()[f"larder-{command}.1"]
        served = set(re.findall(r"^  (?:-\w, |    )--([a-z-]+)", run(command, "--help").decode(), re.M))
        written = set(re.findall(r"^\.It .*?Fl -([a-z-]+)", text, re.M))
        assert "help" in served and served == written, (command, served ^ written)
        assert f".It Xr larder-{command} 1\n" in pages()["larder.1"], command


@test
def every_call_has_a_page():
    assert len(exported()) > 120
    families = {name: text for name, text in pages().items() if name.endswith(".3")}
    names = (SOURCE / "tools" / "man" / "meson.build").read_text()
    for call in exported():
        homes = [name for name, text in families.items() if re.search(rf"^\.F[no] {call}\b", text, re.M)]
        assert homes, f"{call} is in no page of section 3"
        assert re.search(rf"'{call}(\.3)?'", names), f"{call}.3 is not installed"
        assert any(re.search(rf"^\.Nm {call}( ,)?$", families[home], re.M) for home in homes), call


@test
def every_reference_leads_to_a_page():
    aliases = re.findall(r"'(larder_\w+)'", (SOURCE / "tools" / "man" / "meson.build").read_text())
    there = set(pages()) | {f"{alias}.3" for alias in aliases}
    for page, text in pages().items():
        wanted = {f"{name}.{section}" for name, section in re.findall(r"\bXr (larder\S*) (\d)", text)}
        assert wanted and wanted <= there, (page, wanted - there)


@test
def every_status_and_flag_is_in_the_manual():
    header = (SOURCE / "include" / "larder.h").read_text()
    statuses = re.findall(r"^\t(LARDER_\w+) = (-?\d+),?", header.split("enum larder_status {")[1].split("};")[0], re.M)
    assert len(statuses) > 25
    for name, number in statuses:
        number = number.replace("-", "\\-")
        assert f".It Dv {name} No {number}\n" in pages()["larder_strerror.3"], name
    manual = "".join(pages().values())
    for name in re.findall(r"^\t(LARDER_\w+) = ", header, re.M) + re.findall(r"^#define (LARDER_\w+)", header, re.M):
        if name not in ("LARDER_H", "LARDER_API", "LARDER_COUNTER", "LARDER_GAUGE"):
            assert name in manual, name


@test
def the_example_of_the_manual_compiles():
    text = pages()["larder.7"].split(".Sh EXAMPLES")[1].split(".Bd -literal\n")[1].split(".Ed\n")[0]
    compiler = os.environ.get("CC", "cc").split()
    if not shutil.which(compiler[0]):
        raise Skip("there is no compiler")
    subprocess.run([*compiler, "-fsyntax-only", "-Wall", "-Werror", "-I", SOURCE / "include", "-x", "c", "-"],
                   input=text.replace("\\e", "\\"), text=True, check=True)


# Fragments: what stands around them, and a word that only they have.
FRAGMENTS = {
    "larder-manager.7": ("larder_manager_open(", ""),
    "larder-policies.7": ("LARDER_COMPUTE_OPTIONS_INIT", "struct larder *cache = 0; uint32_t pages = 0; const char *url = 0; larder_loader *render = 0; int request;"
                          "char buffer[9]; size_t length; enum larder_status status;"),
    "larder-migration.7": ("larder_store_open(", "extern struct larder_store *find(const char *, void *), *sessions; void *stores = 0;"),
    "larder_get.3": ("switch (larder_get", "struct larder *cache = 0;"),
    "larder_key.3": ("larder_key_make(", ""),
    "larder_lease.3": ("for (;;)", "struct larder *cache = 0; const char *key = 0; size_t n = 0, length; char buffer[9]; extern void compute(char *, size_t *);"),
    "larder_open.3": ("larder_open(", ""),
}


@test
def fragments_of_the_manual_compile_with_the_headers_that_their_pages_name():
    compiler = os.environ.get("CC", "cc").split()
    if not shutil.which(compiler[0]):
        raise Skip("there is no compiler")
    for page, (word, around) in FRAGMENTS.items():
        text = pages()[page]
        found = [block for block in re.findall(r"\.Bd -literal[^\n]*\n(.*?)\.Ed\n", text, re.S) if word in block]
        assert len(found) == 1, (page, found)
        lines = found[0].replace("\\e", "\\").replace("\\&...", ";").split("\n")
        headers = re.findall(r"^\.In (larder\S*)", text, re.M) + [line.split("<")[1].rstrip(">") for line in lines if line.startswith("#include <larder")]
        assert headers, f"{page} names no header"
        code = "#include <err.h>\n#include <stdio.h>\n#include <string.h>\n" + "".join(f"#include <{header}>\n" for header in headers)
        code += f"void fragment(void);\nvoid fragment(void)\n{{\n{around}\n" + "\n".join(line for line in lines if line[:1] != "#") + "\n}\n"
        done = subprocess.run([*compiler, "-fsyntax-only", "-Wall", "-Werror", "-Wno-unused", "-I", SOURCE / "include", "-x", "c", "-"], input=code,
                              text=True, capture_output=True, check=False)
        assert done.returncode == 0, (page, done.stderr, code)


@test
def every_setting_is_in_the_page_of_its_kind():
    for page, sources, least in (("larder.conf.5", ["manager/setup.c", "store/shm.c", "store/memory.c", "store/engine.h"], 14),
                                 ("larder-migration.7", ["store/migrating.c"], 3), ("larder-redis.7", ["redis/redis.c"], 20),
                                 ("larder-tiered.7", ["tier/tiered.c"], 19)):
        keys = {key for source in sources for key in re.findall(r'\.key = "([a-z-]+)"', (SOURCE / "lib" / source).read_text())}
        assert len(keys) >= least, (page, keys)
        missing = {key for key in keys if not re.search(rf"(?<![\w-]){key}(?![\w-])", pages()[page])}
        assert not missing, (page, missing)


@test
def every_counter_is_in_the_manual():
    for page in ("larder-stat.1", "larder_stat.3"):
        for name, label in counters():
            assert f".It Li {name}\n{label}\n" in pages()[page], (page, name)


main()
