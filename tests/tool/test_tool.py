#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The command larder, as a person and a script use it: every subcommand against a real cache in /dev/shm.

    test_tool.py LARDER SOURCE_ROOT MANUAL_BUILD_DIRECTORY [PATTERN ...]

Prints TAP.  With patterns only the tests whose names contain one of them.  Each test makes caches of its own, by names
that no other run has, and destroys them.  The seed of what is drawn at random is printed; LARDER_SEED repeats a run.
"""
import ctypes
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

LARDER, SOURCE, MANUAL = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), Path(sys.argv[3])
SEED = int(os.environ.get("LARDER_SEED") or random.SystemRandom().getrandbits(32))
RANDOM = random.Random(SEED)
FOUND, NOT_FOUND, USAGE, FAILED, DAMAGED = range(5)
TESTS = []


class Skip(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def run(*arguments, data=b"", expect=FOUND, **options):
    """Runs the command; fails unless its exit code is as expected.  Returns its output as bytes."""
    done = subprocess.run([LARDER, *map(str, arguments)], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, **options)
    said = done.stderr.decode(errors="replace")
    assert done.returncode == expect, f"{arguments}: exit {done.returncode}, expected {expect}; said: {said}"
    assert expect in (FOUND,) or said or "-q" in arguments or done.stdout, f"{arguments}: failed without a word"
    run.said = said
    return done.stdout


def show(*arguments, **options):
    return json.loads(run(*arguments, "--json", **options))


def lines(*arguments, **options):
    return [json.loads(line) for line in run(*arguments, "--json", **options).splitlines()]


class Cache:
    """A cache of its own name for one test."""
    serial = 0

    def __init__(self, *options):
        Cache.serial += 1
        self.name = f"test-tool.{os.getpid()}.{Cache.serial}"
        self.options = options

    def __enter__(self):
        run("create", "--size", "8m", *self.options, self.name)
        return self

    def __exit__(self, *_):
        subprocess.run([LARDER, "destroy", "-f", self.name], check=False)

    def __str__(self):
        return self.name

    def set(self, key, value, *options):
        run("set", "-x", *options, self, key.hex(), data=value)

    def get(self, key, *options, **more):
        return run("get", "-x", *options, self, key.hex(), **more)

    def keys(self):
        """{(namespace, key): what ls says of it}"""
        return {(entry["namespace"], key_of(entry)): entry for entry in lines("ls", "--all", self)}

    def contents(self):
        """All that a round trip keeps."""
        return {place: (self.get(place[1], "-N", place[0]), entry["flags"], entry["counter"], entry["expires_at_ms"])
                for place, entry in self.keys().items()}

    def writes(self):
        stat = show("stat", self)
        return stat["sets"], stat["deletes"], stat["flushes"], stat["increments"], stat["entries"]


def key_of(entry):
    return bytes.fromhex(entry["key_hex"]) if "key_hex" in entry else entry["key"].encode()


def temporary(content=None):
    """Path of a file that goes with the run."""
    temporary.serial += 1
    path = Path(temporary.directory) / str(temporary.serial)
    if content is not None:
        path.write_bytes(content)
    return path


temporary.serial = 0


# ---- The program -----------------------------------------------------------------------------------------------------

COMMANDS = ["create", "destroy", "info", "get", "set", "del", "incr", "touch", "ls", "namespace", "flush", "stat", "check",
            "dump", "load", "help"]


@test
def help_lists_every_command():
    listed = re.findall(r"^  (\w+) ", run("help").decode(), re.M)
    assert listed == COMMANDS, listed
    assert run("--help") == run("help")


@test
def every_command_explains_itself():
    for command in COMMANDS:
        text = run(command, "--help").decode()
        assert text.startswith(f"usage: larder {command} "), text
        assert run("help", command).decode() == text


@test
def version_names_program_and_library():
    version = re.search(r"version: '([\d.]+)'", (SOURCE / "meson.build").read_text()).group(1)
    assert run("--version").decode() == f"larder {version} (library {version})\n"


@test
def a_wrong_command_line_is_exit_code_2():
    with Cache() as cache:
        before = cache.writes()
        for wrong in ([], ["nonsense"], ["--nonsense"], ["get"], ["get", cache], ["get", cache, "a", "b"],
                      ["get", "--nonsense", cache, "a"], ["get", "-Z", cache, "a"], ["get", cache, ""],
                      ["get", "-x", cache, "abc"], ["get", "-x", cache, "zz"], ["get", cache, "k" * 4097],
                      ["set", "-t", "soon", cache, "a", "b"], ["set", "-t", "0", cache, "a", "b"],
                      ["set", "-t", "5x", cache, "a", "b"], ["set", "-t", "1h30", cache, "a", "b"],
                      ["set", "-f", "4294967296", cache, "a", "b"], ["set", "-f", "-1", cache, "a", "b"],
                      ["set", "-u", "tomorrow", cache, "a", "b"], ["set", "--add", "--replace", cache, "a", "b"],
                      ["set", "--append", "-t", "5s", cache, "a", "b"], ["set", "--if-version", "x", cache, "a", "b"],
                      ["incr", cache, "a", "1.5"], ["incr", cache, "a", "99999999999999999999"], ["incr", cache, "a", "1", "2"],
                      ["del", cache, "a", ""], ["touch", cache], ["ls", "-a", "-N", "x", cache], ["ls", "-c", "many", cache],
                      ["flush", "-a", "-N", "x", cache], ["stat", cache, "often"], ["stat", cache, "1s", "x"],
                      ["namespace", "-t", "5s", cache], ["create", "--size", "64q", "x"], ["create", "--mode", "999", "x"],
                      ["create", "--segments", "-5", "x"], ["create", "--size", "99999999999g", "x"], ["create"], ["destroy"],
                      ["help", "nonsense"], ["dump"], ["load"]):
            run(*wrong, expect=USAGE)
        assert cache.writes() == before


@test
def a_cache_that_is_not_there_is_exit_code_1_and_named():
    name = f"test-tool.{os.getpid()}.none"
    for command in (["info", name], ["get", name, "a"], ["set", name, "a", "b"], ["del", name, "a"], ["incr", name, "a"],
                    ["touch", name, "a"], ["ls", name], ["namespace", name], ["flush", name], ["stat", name],
                    ["check", name], ["dump", name], ["load", name], ["destroy", name]):
        run(*command, expect=NOT_FOUND)
        assert name in run.said, run.said
    run("destroy", "--force", name)
    assert not Path(f"/dev/shm/larder.{name}").exists()


@test
def output_that_cannot_be_written_is_a_failure():
    with Cache() as cache:
        cache.set(b"key", b"value")
        for command in (["get", cache, "key"], ["ls", cache], ["stat", cache], ["stat", "-j", cache], ["info", cache],
                        ["dump", cache], ["help"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([LARDER, *map(str, command)], stdout=full, stderr=subprocess.PIPE, check=False)
            assert done.returncode == FAILED and done.stderr, (command, done)


# ---- create, destroy, info -------------------------------------------------------------------------------------------

@test
def create_makes_what_was_asked_for():
    with Cache("--entry-size", "1k", "--mode", "640", "--segments", "64", "--participants", "32", "--namespaces", "40",
               "--checksum") as cache:
        info = show("info", cache)
        assert info["bytes"] == 8 << 20 and info["mode"] == 0o640, info
        assert (info["segments"], info["participants"], info["checksum"], info["plain"]) == (64, 32, True, False), info
        assert info["namespaces"] >= 40, info
        assert os.stat(f"/dev/shm/larder.{cache}").st_mode & 0o777 == 0o640
        assert os.stat(f"/dev/shm/larder.{cache}").st_size == 8 << 20


@test
def a_smaller_entry_size_makes_a_larger_index():
    with Cache("-e", "64") as small, Cache("-e", "4k") as large:
        assert show("info", small)["index_slots"] > 4 * show("info", large)["index_slots"]


@test
def create_refuses_a_cache_that_exists():
    with Cache() as cache:
        cache.set(b"key", b"value")
        run("create", cache, expect=FAILED)
        assert "exists" in run.said and str(cache) in run.said
        run("create", "--if-absent", cache)
        assert cache.get(b"key") == b"value"


@test
def create_says_how_much_room_there_is():
    run("create", "--size", "4000g", f"test-tool.{os.getpid()}.huge", expect=FAILED)
    assert re.search(r"/dev/shm", run.said), run.said
    assert not Path(f"/dev/shm/larder.test-tool.{os.getpid()}.huge").exists()


@test
def destroy_ends_every_cache_named():
    with Cache() as one, Cache() as two:
        run("destroy", one, f"{one}.none", two, expect=NOT_FOUND)
        assert not Path(f"/dev/shm/larder.{one}").exists() and not Path(f"/dev/shm/larder.{two}").exists()


@test
def destroy_leaves_a_foreign_file_alone():
    path = temporary(b"this is somebody's diary\n" * 1000)
    run("destroy", path, expect=FAILED)
    assert path.read_bytes() == b"this is somebody's diary\n" * 1000
    run("get", path, "key", expect=FAILED)
    assert str(path) in run.said, run.said


def library():
    """The library that the command runs with."""
    found = re.search(r"liblarder\S* => (\S+)", subprocess.run(["ldd", LARDER], capture_output=True, text=True,
                                                              check=False).stdout)
    if not found:
        raise Skip("the command is linked statically")
    return found.group(1)


USER = """
import ctypes, sys
larder, handle = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()
assert larder.larder_open(sys.argv[2].encode(), ctypes.c_uint64(0), ctypes.byref(handle)) == 0
assert larder.larder_set(handle, 0, b"from", ctypes.c_size_t(4), b"user", ctypes.c_size_t(4), ctypes.c_int64(0)) == 0
print("ready", flush=True)
sys.stdin.read()
"""


@test
def info_shows_who_is_attached_and_who_has_died():
    with Cache() as cache:
        user = subprocess.Popen([sys.executable, "-c", USER, library(), str(cache)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        try:
            assert user.stdout.readline() == b"ready\n"
            attached = show("info", cache)["attached"]
            assert [(who["pid"], who["alive"]) for who in attached] == [(user.pid, True)], attached
            assert show("info", cache)["participants_alive"] == 1
            assert re.search(rf"alive +{user.pid} ", run("info", cache).decode())
        finally:
            user.kill()
            user.wait()
        alive = [who for who in show("info", cache)["attached"] if who["alive"]]
        assert not alive, alive
        dead = [who["pid"] for who in show("info", "--dead", cache)["attached"] if not who["alive"]]
        assert user.pid in dead, dead
        assert cache.get(b"from") == b"user"


# ---- get, set, del, incr, touch ----------------------------------------------------------------------------------------

@test
def get_writes_the_bytes_that_set_read():
    with Cache() as cache:
        for size in (0, 1, 63, 4096, 65535, 65536, 65537, 300000):
            value = RANDOM.randbytes(size)
            cache.set(b"key", value)
            assert cache.get(b"key") == value, size
        run("set", cache, "word", "from the command line")
        assert run("get", cache, "word") == b"from the command line"
        assert run("get", "-n", cache, "word") == b"from the command line\n"
        run("set", cache, "word", "-", data=b"from standard input")
        assert run("get", cache, "word") == b"from standard input"


@test
def a_value_that_is_too_large_is_refused_and_the_old_one_stands():
    with Cache() as cache:
        limit = show("info", cache)["value_max_bytes"]
        cache.set(b"key", b"old")
        run("set", cache, "key", data=bytes(limit + 1), expect=FAILED)
        assert cache.get(b"key") == b"old"
        cache.set(b"key", bytes(limit))
        assert cache.get(b"key") == bytes(limit)


@test
def keys_can_be_any_bytes():
    with Cache() as cache:
        for key in (b"\0", b"\xff\xfe\0\n", bytes(range(256)), b"k" * 4096, "Zoë".encode()):
            cache.set(key, b"=" + key)
            assert cache.get(key) == b"=" + key
            assert ("", key) in cache.keys(), key
        text = run("ls", cache).decode()
        assert "Zoë\n" in text and "\\xff\\xfe\\x00\\x0a\n" in text, text
        assert b"fffe000a\n" in run("ls", "-x", cache)


@test
def a_key_that_is_not_there_is_exit_code_1():
    with Cache() as cache:
        run("get", cache, "none", expect=NOT_FOUND)
        assert "none" in run.said
        assert run("get", "-q", cache, "none", expect=NOT_FOUND) == b"" and not run.said
        run("del", cache, "none", expect=NOT_FOUND)
        run("touch", "-t", "5s", cache, "none", expect=NOT_FOUND)
        run("incr", "--existing", cache, "none", expect=NOT_FOUND)
        run("set", "--append", cache, "none", "x", expect=NOT_FOUND)
        run("set", "--replace", cache, "none", "x", expect=NOT_FOUND)
        run("get", "-N", "none", cache, "key", expect=NOT_FOUND)
        run("del", "-N", "none", cache, "key", expect=NOT_FOUND)
        assert not cache.keys() and len(lines("namespace", cache)) == 1


@test
def conditions_are_kept():
    with Cache() as cache:
        run("set", "--add", cache, "key", "one")
        run("set", "--add", cache, "key", "two", expect=NOT_FOUND)
        run("set", "--replace", cache, "key", "three")
        version = show("get", cache, "key")["version"]
        result = show("set", "--if-version", version, cache, "key", "four")
        run("set", "--if-version", version, cache, "key", "five", expect=NOT_FOUND)
        assert show("get", cache, "key")["version"] == result["version"]
        run("set", "--append", cache, "key", " and more")
        assert run("get", cache, "key") == b"four and more"


@test
def a_plain_cache_says_why_it_has_no_versions():
    with Cache("--plain") as cache:
        run("set", cache, "key", "one")
        run("set", "--if-version", "1", cache, "key", "two", expect=FAILED)
        assert "--plain" in run.said, run.said
        assert run("get", cache, "key") == b"one"


@test
def metadata_is_what_was_set():
    with Cache() as cache:
        before = time.time() * 1000
        run("set", "-t", "1h30m", "-f", "0xdeadbeef", cache, "key", "value")
        meta = show("get", "--meta", cache, "key")
        assert meta["flags"] == 0xdeadbeef and meta["value_bytes"] == 5 and "value" not in meta, meta
        assert abs(meta["expires_at_ms"] - before - 5400000) < 5000 and abs(meta["created_at_ms"] - before) < 5000, meta
        assert 5395000 < meta["ttl_left_ms"] <= 5400000, meta
        assert show("get", cache, "key")["value"] == "value"
        assert b"flags         0xdeadbeef\n" in run("get", "-M", cache, "key")
        cache.set(b"binary", b"\xff\0")
        assert show("get", cache, "binary")["value_hex"] == "ff00"


@test
def times_to_live_are_kept():
    with Cache() as cache:
        run("set", "-t", "250ms", cache, "short", "x")
        run("set", "-t", "300", cache, "seconds", "x")
        run("set", "-u", f"@{int(time.time()) + 100}.500", cache, "epoch", "x")
        run("set", "-u", "2033-05-18T03:33:20Z", cache, "date", "x")
        run("set", cache, "never", "x")
        left = {key: entry["ttl_left_ms"] for (_, key), entry in cache.keys().items()}
        assert 299000 < left[b"seconds"] <= 300000 and 98000 < left[b"epoch"] <= 101000 and left[b"never"] is None, left
        assert abs(cache.keys()["", b"date"]["expires_at_ms"] - 2000000000000) < 100
        time.sleep(0.4)
        run("get", cache, "short", expect=NOT_FOUND)
        run("set", "-t", "keep", cache, "seconds", "y")
        assert 290000 < show("get", cache, "seconds")["ttl_left_ms"] <= 300000
        run("touch", "-t", "2d", cache, "never", "seconds")
        assert all(172700000 < show("get", cache, key)["ttl_left_ms"] <= 172800000 for key in ("never", "seconds"))
        run("touch", "-t", "none", cache, "seconds")
        assert show("get", cache, "seconds")["ttl_left_ms"] is None


@test
def del_tries_all_keys():
    with Cache() as cache:
        for key in "abc":
            run("set", cache, key, "x")
        run("del", cache, "a", "none", "c", expect=NOT_FOUND)
        assert set(cache.keys()) == {("", b"b")}


@test
def counters_count():
    with Cache() as cache:
        assert run("incr", cache, "hits") == b"1\n"
        assert run("incr", cache, "hits", "41") == b"42\n"
        assert run("incr", cache, "hits", "-50") == b"-8\n"
        assert run("incr", "-N", "space", "-i", "100", "-t", "5m", cache, "hits", "-1") == b"99\n"
        assert run("get", cache, "hits") == b"-8"
        entry = show("get", "-N", "space", cache, "hits")
        assert entry["counter"] and entry["value"] == "99" and 290000 < entry["ttl_left_ms"] <= 300000, entry
        run("set", cache, "word", "word")
        run("incr", cache, "word", expect=FAILED)
        assert "word" in run.said
        run("incr", cache, "hits", str(2 ** 62), expect=FAILED)
        run("set", cache, "digits", "7")
        assert run("incr", cache, "digits", "3") == b"10\n"


# ---- ls, namespace, flush ----------------------------------------------------------------------------------------------

@test
def ls_lists_by_namespace_and_prefix():
    with Cache() as cache:
        for ns in ("", "pages", "users"):
            for key in ("a:1", "a:2", "b:1"):
                run("set", "-N", ns, cache, key, ns + key)
        assert sorted(run("ls", cache).split()) == [b"a:1", b"a:2", b"b:1"]
        assert sorted(run("ls", "-N", "users", "-p", "a:", cache).split()) == [b"a:1", b"a:2"]
        assert len(cache.keys()) == 9
        assert len(lines("ls", "-a", "-p", "b", cache)) == 3
        assert len(run("ls", "-a", "-c", "4", cache).split()) == 4
        assert run("ls", "-p", "none", cache) == b""
        run("ls", "-N", "none", cache, expect=NOT_FOUND)
        table = run("ls", "-al", cache).decode().splitlines()
        assert table[0].split() == ["SIZE", "TTL", "HITS", "POOL", "NAMESPACE", "KEY"] and len(table) == 10, table
        assert any(row.split() == ["8", "never", "0", "small", "pages", "b:1"] for row in table), table


@test
def namespaces_have_a_default_time_to_live():
    with Cache() as cache:
        run("namespace", "-t", "10m", cache, "pages")
        run("set", "-N", "pages", cache, "key", "x")
        run("set", "-N", "pages", "-t", "none", cache, "eternal", "x")
        assert 590000 < show("get", "-N", "pages", cache, "key")["ttl_left_ms"] <= 600000
        assert show("get", "-N", "pages", cache, "eternal")["ttl_left_ms"] is None
        known = {ns["namespace"]: ns for ns in lines("namespace", cache)}
        assert set(known) == {"", "pages"} and known["pages"]["ttl_ms"] == 600000 and known[""]["ttl_ms"] is None, known
        assert known["pages"]["entries"] == 2 and known["pages"]["bytes"] > 0, known
        assert "pages" in run("namespace", cache).decode()
        run("namespace", "-t", "none", cache, "pages")
        run("touch", "-N", "pages", cache, "key")
        assert show("get", "-N", "pages", cache, "key")["ttl_left_ms"] is None


@test
def a_full_table_of_namespaces_is_said():
    with Cache("--namespaces", "16") as cache:
        for number in range(400):
            done = subprocess.run([LARDER, "namespace", str(cache), f"ns{number}"], stderr=subprocess.PIPE, check=False)
            if done.returncode:
                break
        assert done.returncode == FAILED and done.stderr, done
        assert 15 <= number <= show("info", cache)["namespaces"], number


@test
def flush_takes_a_namespace_and_leaves_the_others():
    with Cache() as cache:
        for ns in ("", "pages", "users"):
            run("set", "-N", ns, cache, "key", "x")
        run("flush", "-N", "pages", cache)
        run("get", "-N", "pages", cache, "key", expect=NOT_FOUND)
        assert set(cache.keys()) == {("", b"key"), ("users", b"key")}
        run("flush", "--soft", "-N", "users", cache)
        run("get", "-N", "users", cache, "key", expect=NOT_FOUND)
        stale = show("get", "--stale", "-N", "users", cache, "key")
        assert stale["stale"] and stale["value"] == "x", stale
        assert [entry["stale"] for entry in lines("ls", "--stale", "-N", "users", cache)] == [True]
        run("flush", cache)
        run("get", cache, "key", expect=NOT_FOUND)
        run("flush", "-N", "none", cache, expect=NOT_FOUND)


@test
def flush_all_empties_every_namespace():
    with Cache() as cache:
        for how, stale in (("--all", NOT_FOUND), ("--all --soft", FOUND)):
            for ns in ("", "pages"):
                run("set", "-N", ns, cache, "key", "x")
            run("flush", *how.split(), cache)
            assert not cache.keys()
            for ns in ("", "pages"):
                run("get", "--stale", "-N", ns, cache, "key", expect=stale)


# ---- stat, check -------------------------------------------------------------------------------------------------------

def counters():
    text = (SOURCE / "include" / "larder" / "counters.def").read_text()
    return re.findall(r'^LARDER_COUNTER\((\w+), "(.*)"\)$', text, re.M)


@test
def stat_shows_every_counter_by_name_and_label():
    with Cache() as cache:
        run("set", cache, "key", "x")
        run("del", cache, "key")
        text, stat = run("stat", cache).decode(), show("stat", cache)
        assert len(counters()) > 20
        for name, label in counters():
            assert re.search(rf"^ *{stat[name]}  {name} +{re.escape(label)}$", text, re.M), name
        assert stat["sets"] == 1 and stat["deletes"] == 1 and stat["entries"] == 0, stat


@test
def inspecting_changes_nothing():
    with Cache() as cache:
        run("set", cache, "key", "x")
        path = Path(f"/dev/shm/larder.{cache}")
        before = hashlib.sha256(path.read_bytes()).digest()
        for command in (["info"], ["ls", "-al"], ["stat"], ["check"], ["dump"], ["namespace"]):
            run(*command, cache)
        run("get", cache, "key")
        run("get", cache, "none", expect=NOT_FOUND)
        assert hashlib.sha256(path.read_bytes()).digest() == before


@test
def stat_prints_rates_every_interval():
    with Cache() as cache:
        watch = subprocess.Popen([LARDER, "stat", "-j", str(cache), "300ms", "3"], stdout=subprocess.PIPE)
        for number in range(20):
            run("set", cache, f"key{number}", "x")
        out = [json.loads(line) for line in watch.communicate(timeout=30)[0].splitlines()]
        assert watch.returncode == 0 and len(out) == 3, out
        assert all(300 <= line["interval_ms"] < 5000 for line in out), out
        seen = sum(line["per_second"]["sets"] * line["interval_ms"] / 1000 for line in out)
        assert 1 <= round(seen) <= 20, seen
        table = run("stat", cache, "100ms", "2").decode().splitlines()
        assert len(table) == 3 and table[0].split()[:3] == ["gets/s", "hit%", "sets/s"], table


@test
def stat_ends_when_the_cache_is_destroyed():
    with Cache() as cache:
        watch = subprocess.Popen([LARDER, "stat", str(cache), "100ms"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        watch.stdout.readline()
        run("destroy", cache)
        said = watch.communicate(timeout=30)[1].decode()
        assert watch.returncode == FAILED and "destroyed" in said, (watch.returncode, said)


@test
def check_finds_damage_and_nothing_else():
    with Cache() as cache:
        for number in range(50):
            run("set", cache, f"key{number}", "x" * number * 10)
        assert run("check", cache) == b"no faults\n"
        assert show("check", cache) == {"faults": 0, "found": []}
        path = Path(f"/dev/shm/larder.{cache}")
        with path.open("r+b") as segment: # noise over the second half of the index and all segments
            size = path.stat().st_size
            segment.seek(size // 16)
            segment.write(RANDOM.randbytes(size - size // 16))
        report = show("check", cache, expect=FAILED)
        assert report["faults"] > 0 and report["found"], report
        assert b"fault: " in run("check", cache, expect=FAILED)
        assert run("check", "-q", cache, expect=FAILED) == b""
        for command in (["info"], ["stat"]):
            run(*command, cache)
        for command in (["ls", "-a"], ["dump"], ["get", str(cache), "key7"]):
            arguments = command if len(command) > 2 else [*command, str(cache)]
            done = subprocess.run([LARDER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30,
                                  check=False)
            assert done.returncode in (FOUND, NOT_FOUND, FAILED), (command, done.returncode)


# ---- dump, load --------------------------------------------------------------------------------------------------------

HEADER, HEAD, CHECK = 48, 72, 8


def fill(cache):
    """Something of everything that a dump has to keep."""
    cache.set(b"plain", b"value", "-f", "7")
    cache.set(b"empty", b"")
    cache.set(bytes(range(256)), RANDOM.randbytes(1000), "-t", "1h")
    cache.set(b"large", RANDOM.randbytes(300000))
    cache.set(b"large with time", RANDOM.randbytes(200000), "-t", "2h", "-f", "9")
    cache.set(b"in pages", b"page", "-N", "pages", "-t", "3d")
    cache.set(b"plain", b"the same key elsewhere", "-N", "pages")
    run("namespace", "-t", "90m", cache, "pages")
    run("namespace", "-t", "5m", cache, "empty")
    run("incr", cache, "counter", "12345678901")
    run("incr", "-N", "pages", "-t", "1d", cache, "counter", "-5")


def small_dump(cache, count=12):
    """A dump of a few short entries, as bytes."""
    for number in range(count):
        cache.set(b"key%d" % number, b"value %d " % number * (number + 1), "-N", "abc"[number % 3])
    return run("dump", cache)


def records(dump):
    """[(offset, end)] of the records of a dump, trailer included."""
    found, at = [], HEADER
    while at < len(dump):
        size = dump[at + 17] + int.from_bytes(dump[at + 18:at + 20], "little") + int.from_bytes(dump[at + 24:at + 32], "little")
        found.append((at, at + HEAD + size + CHECK))
        at = found[-1][1]
    assert at == len(dump)
    return found


def close_enough(one, other):
    """Equal contents; a time of expiry may move by the resolution of clocks."""
    def rounded(contents):
        return {place: (value, flags, counter) for place, (value, flags, counter, _) in contents.items()}

    if rounded(one) != rounded(other):
        return False
    pairs = [(one[place][3], other[place][3]) for place in one]
    return all(a == b or (a and b and abs(a - b) <= 20) for a, b in pairs)


@test
def dump_and_load_make_a_round_trip():
    with Cache() as cache, Cache("--size", "16m", "--entry-size", "500") as other:
        fill(cache)
        before, path = cache.contents(), temporary()
        assert len(before) == 9
        run("dump", cache, path)
        assert re.search(r"\b9 entries", run.said) and path.stat().st_mode & 0o777 == 0o600
        assert show("load", other, path)["loaded"] == 9
        assert close_enough(other.contents(), before)
        assert {ns["namespace"]: ns["ttl_ms"] for ns in lines("namespace", other)} == {
            "": None, "pages": 5400000, "empty": 300000}
        assert run("incr", other, "counter") == b"12345678902\n"
        run("flush", "--all", cache)
        run("load", cache, path)
        assert close_enough(cache.contents(), before)


@test
def a_dump_goes_through_a_pipe():
    with Cache() as cache, Cache() as other:
        fill(cache)
        dump = subprocess.Popen([LARDER, "dump", str(cache)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        done = subprocess.run([LARDER, "load", str(other), "-"], stdin=dump.stdout, capture_output=True, check=False)
        dump.stdout.close()
        assert dump.wait() == 0 and done.returncode == 0, done
        assert close_enough(other.contents(), cache.contents())
        with temporary(run("dump", cache)).open("rb") as stdin:
            run("flush", "--all", other)
            subprocess.run([LARDER, "load", "-q", str(other)], stdin=stdin, check=True)
        assert close_enough(other.contents(), cache.contents())


@test
def many_entries_make_a_round_trip():
    with Cache() as cache, Cache() as other:
        larder, handle = ctypes.CDLL(library()), ctypes.c_void_p()
        assert larder.larder_open(str(cache).encode(), ctypes.c_uint64(0), ctypes.byref(handle)) == 0
        for number in range(10000):
            key, value = b"key:%d" % number, b"v" * (number % 300)
            assert larder.larder_set(handle, 0, key, ctypes.c_size_t(len(key)), value, ctypes.c_size_t(len(value)),
                                     ctypes.c_int64(3600000 if number % 2 else -1)) == 0
        larder.larder_close(ctypes.byref(handle))
        path = temporary()
        run("dump", cache, path)
        summary = show("load", other, path)
        assert summary["found"] == summary["loaded"] > 9000 and summary["evicted"] == 0, summary
        size = {place: (entry["value_bytes"], entry["ttl_left_ms"] is None) for place, entry in cache.keys().items()}
        assert size == {place: (entry["value_bytes"], entry["ttl_left_ms"] is None) for place, entry in other.keys().items()}
        assert run("check", other) == b"no faults\n"


@test
def dump_can_be_limited():
    with Cache() as cache, Cache() as other:
        fill(cache)
        for options, expected in ((["-N", "pages"], 3), (["-N", ""], 6), (["-p", "plain"], 2), (["-N", "", "-p", "l"], 2),
                                  (["-x", "-p", "0001"], 1), (["-p", "none"], 0)):
            run("flush", "-a", other)
            assert show("load", other, data=run("dump", *options, cache))["loaded"] == expected, options
            assert len(other.keys()) == expected


@test
def entries_that_have_expired_since_are_left_out():
    with Cache() as cache:
        run("set", "-t", "500ms", cache, "short", "x")
        run("set", "-t", "1h", cache, "long", "x")
        dump = run("dump", cache)
        time.sleep(0.6)
        summary = show("load", cache, data=dump)
        assert (summary["found"], summary["loaded"], summary["expired"]) == (2, 1, 1), summary
        run("get", cache, "short", expect=NOT_FOUND)


@test
def load_keeps_what_it_is_told_to_keep():
    with Cache() as cache:
        run("set", cache, "a", "old")
        run("set", cache, "b", "old")
        dump = run("dump", cache)
        run("set", cache, "a", "new")
        run("del", cache, "b")
        summary = show("load", "--keep", cache, data=dump)
        assert (summary["kept"], summary["loaded"]) == (1, 1), summary
        assert run("get", cache, "a") == b"new" and run("get", cache, "b") == b"old"
        run("load", cache, data=dump)
        assert run("get", cache, "a") == b"old"
        run("del", cache, "b")
        before = cache.writes()
        run("load", "--dry-run", cache, data=dump)
        assert cache.writes() == before


@test
def load_into_too_small_a_cache_changes_nothing():
    with Cache() as cache, Cache("--size", "1m") as small:
        fill(cache)
        small.set(b"here", b"before")
        dump, before = run("dump", cache), small.writes()
        run("load", small, data=dump, expect=FAILED)
        assert small.writes() == before and "more than this cache takes" in run.said
        run("load", "--partial", small, data=dump, expect=FAILED)
        assert small.get(b"empty") == b"" and small.get(b"here") == b"before"


@test
def an_interrupted_dump_leaves_the_old_one():
    with Cache() as cache:
        run("set", cache, "key", "x")
        directory = Path(tempfile.mkdtemp(dir=temporary.directory))
        path = directory / "dump"
        run("dump", cache, path)
        before = path.read_bytes()
        run("dump", cache, directory / "no such directory" / "dump", expect=FAILED)
        run("dump", "-N", "no such namespace", cache, path, expect=NOT_FOUND)
        assert path.read_bytes() == before and list(directory.iterdir()) == [path]


@test
def a_dump_cut_short_anywhere_loses_nothing():
    with Cache() as cache:
        dump = small_dump(cache)
        run("set", "-N", "a", cache, "key0", "newer than the dump")
        edges = [edge for record in records(dump) for edge in record]
        points = {0, 1, 7, 8, HEADER - 1, HEADER, len(dump) - 1, *RANDOM.sample(range(len(dump)), 120)}
        points |= {edge + step for edge in edges for step in (-9, -1, 0, 1, HEAD) if 0 <= edge + step < len(dump)}
        before, path = cache.writes(), temporary()
        for point in sorted(points):
            path.write_bytes(dump[:point])
            run("load", cache, path, expect=DAMAGED)
            assert cache.writes() == before, point
        assert run("get", "-N", "a", cache, "key0") == b"newer than the dump"


@test
def a_flipped_bit_anywhere_loses_nothing():
    with Cache() as cache:
        dump = small_dump(cache)
        points = {*range(HEADER + HEAD), *range(len(dump) - HEAD - 16, len(dump)), *RANDOM.sample(range(len(dump)), 120)}
        before, path = cache.writes(), temporary()
        for point in sorted(points):
            damaged = bytearray(dump)
            damaged[point] ^= 1 << RANDOM.randrange(8)
            path.write_bytes(damaged)
            run("load", cache, path, expect=DAMAGED)
            assert cache.writes() == before, point
        run("load", cache, data=dump)


@test
def records_that_move_are_damage():
    with Cache() as cache:
        dump = small_dump(cache)
        parts = [dump[a:b] for a, b in records(dump)]
        before = cache.writes()
        for other in (parts[:2] + parts[3:], parts[:3] + parts[2:], parts[:2] + [parts[3], parts[2]] + parts[4:], parts[:-1],
                      parts + [parts[-1]], parts + [b"\0"], parts[:-2] + parts[-1:]):
            run("load", cache, data=dump[:HEADER] + b"".join(other), expect=DAMAGED)
        for other in (b"", b"no dump at all\n" * 100, RANDOM.randbytes(5000), dump[HEADER:]):
            run("load", cache, data=other, expect=DAMAGED)
        assert cache.writes() == before


@test
def partial_loads_all_good_records():
    with Cache() as cache:
        dump = small_dump(cache)
        places = {place: value for place, (value, *_) in cache.contents().items()}
        ends = records(dump)
        for index, (start, end) in enumerate(ends[:-1]):
            lost = {place for place in places
                    if dump[start + 16] == 2 and dump[start + HEAD:end - CHECK].startswith((place[0].encode() + place[1] + b"value"))}
            assert len(lost) == (dump[start + 16] == 2), (index, lost)
            for point in (start, start + 20, end - 1):
                damaged = bytearray(dump)
                damaged[point] ^= 0x10
                run("flush", "--all", cache)
                summary = show("load", "--partial", cache, data=bytes(damaged), expect=DAMAGED)
                assert summary["lost"] == 1 and summary["faults"] >= 1, summary
                found = {place: value for place, (value, *_) in cache.contents().items()}
                assert found == {place: value for place, value in places.items() if place not in lost}, (index, point)


@test
def partial_loads_behind_a_lost_header_and_before_a_lost_end():
    with Cache() as cache:
        dump = small_dump(cache)
        places, ends = set(cache.keys()), records(dump)
        entries = [record for record in ends if dump[record[0] + 16] == 2]
        for damaged, expected in ((bytes(HEADER) + dump[HEADER:], 12), (dump[:ends[-1][0]], 12), (dump[:entries[5][0] + 90], 5),
                                  (dump[:entries[3][0]] + dump[entries[6][0]:], 9), (b"x" * 100000 + dump, 12),
                                  (dump[:entries[3][0]] + RANDOM.randbytes(2500000) + dump[entries[3][0]:], 12)):
            run("flush", "--all", cache)
            summary = show("load", "--partial", cache, data=damaged, expect=DAMAGED)
            assert summary["loaded"] == expected == len(cache.keys()), (expected, summary)
            assert set(cache.keys()) <= places


@test
def a_dump_inside_a_value_is_never_taken_for_records():
    with Cache() as cache, Cache() as other:
        run("set", cache, "smuggled", "x")
        other.set(b"parcel", run("dump", cache))
        run("set", other, "beside", "x")
        dump = run("dump", other)
        start, end = next(record for record in records(dump) if b"smuggled" in dump[slice(*record)])
        damaged = bytearray(dump)
        damaged[start + 1] ^= 1
        damaged[end - 1] ^= 1
        run("flush", "--all", other)
        run("load", "--partial", other, data=bytes(damaged), expect=DAMAGED)
        assert set(other.keys()) == {("", b"beside")}


# ---- The manual --------------------------------------------------------------------------------------------------------

def pages():
    """{file name: text} of the manual, the pages made by the build included."""
    found = {path.name: path for path in (SOURCE / "tools" / "man").glob("larder*.[137]")}
    for made in (SOURCE / "tools" / "man").glob("*.in"):
        found[made.stem] = MANUAL / made.stem
    return {name: path.read_text() for name, path in found.items()}


def exported():
    header = (SOURCE / "include" / "larder.h").read_text()
    return re.findall(r"^LARDER_API [^;(]*?(larder_\w+)\(", header, re.M)


@test
def mandoc_finds_no_fault_in_the_manual():
    if not shutil.which("mandoc"):
        raise Skip("there is no mandoc")
    for name, text in pages().items():
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stdout, (name, done.stdout)


@test
def every_command_has_a_page_with_its_options():
    for command in COMMANDS:
        text = pages()[f"larder-{command}.1"]
        served = set(re.findall(r"--([a-z-]+)", run(command, "--help").decode().split("\nusage")[0].split("\n\n", 1)[1]))
        written = set(re.findall(r"^\.It .*?Fl -([a-z-]+)", text, re.M))
        served -= {"help"} | ({"until"} - written)
        assert served <= written and written - {"help"} <= served | {"help"}, (command, served ^ written)
        assert f".Xr larder-{command} 1" in pages()["larder.1"], command


@test
def every_call_has_a_page():
    assert len(exported()) > 35
    families = {name: text for name, text in pages().items() if name.endswith(".3")}
    names = (SOURCE / "tools" / "man" / "meson.build").read_text()
    for call in exported():
        homes = [name for name, text in families.items() if re.search(rf"^\.F[no] {call}\b", text, re.M)]
        assert homes, f"{call} is in no page of section 3"
        assert re.search(rf"'{call}(\.3)?'", names), f"{call}.3 is not installed"
        assert any(re.search(rf"^\.Nm {call}( ,)?$", families[home], re.M) for home in homes), call


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
        if name not in ("LARDER_H", "LARDER_API", "LARDER_COUNTER"):
            assert name in manual, name


@test
def every_counter_is_in_the_manual():
    for page in ("larder-stat.1", "larder_stat.3"):
        for name, label in counters():
            assert f".It Li {name}\n{label}\n" in pages()[page], (page, name)


def main():
    patterns = sys.argv[4:]
    chosen = [function for function in TESTS if not patterns or any(word in function.__name__ for word in patterns)]
    print(f"1..{len(chosen)}\n# seed {SEED}", flush=True)
    failed = 0
    for number, function in enumerate(chosen, 1):
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception: # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {name}")
            print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="larder-tool-") as temporary.directory:
        main()
