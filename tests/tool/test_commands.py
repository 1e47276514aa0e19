#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every subcommand but dump and load against a real cache in /dev/shm: output, JSON, exit codes."""
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from kit import (COMMANDS, FAILED, FOUND, LARDER, NOT_FOUND, RANDOM, SOURCE, USAGE, WORKER, Cache, Skip, Worker,
                 counters, lines, main, run, show, temporary, test)

# ---- The program ----------------------------------------------------------------------------------------------------

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
                      ["incr", cache, "a", "1.5"], ["incr", cache, "a", "99999999999999999999"],
                      ["incr", cache, "a", "1", "2"], ["del", cache, "a", ""], ["touch", cache],
                      ["ls", "-a", "-N", "x", cache], ["ls", "-c", "many", cache],
                      ["flush", "-a", "-N", "x", cache], ["stat", cache, "often"], ["stat", cache, "1s", "x"],
                      ["namespace", "-t", "5s", cache],
                      ["namespace", "-q", "1m", cache], ["namespace", "-q", "lots", cache, "a"], ["create", "--size", "64q", "x"],
                      ["create", "--mode", "999", "x"], ["create", "--segments", "-5", "x"],
                      ["create", "--size", "99999999999g", "x"], ["create", "--size", "4000g", "x"],
                      ["create", "--segments", "5000", "x"], ["create", "--size", "1k", "x"], ["create"], ["destroy"],
                      ["help", "nonsense"], ["dump"], ["load"]):
            run(*wrong, expect=USAGE)
        assert cache.writes() == before


@test
def what_is_missing_or_too_much_is_said():
    for command, word in ((["stat"], "which cache"), (["get", "x"], "a key is missing"), (["get", "x", "a", "surplus"], "'surplus'"),
                          (["stat", "--plot", "x.png"], "which history"), (["redis"], "ping, status, clear or reconcile")):
        run(*command, expect=USAGE)
        assert word in run.said, (command, run.said)


@test
def limits_are_told_by_the_names_of_options():
    name = f"test-tool.{os.getpid()}.limits"
    for options, word in ((["--size", "5"], "--size = 5"), (["--mode", "400"], "--mode = 0400"), (["--entry-size", "1g"], "--entry-size"),
                          (["--size", "600k", "--namespaces", "4096"], "--size = 614400: too few")):
        run("create", *options, name, expect=USAGE)
        assert word in run.said and "options." not in run.said, run.said


@test
def durations_are_told_as_they_are_given():
    with Cache() as cache:
        for ttl in "5s", "42s", "5m30s", "7d", "2500ms":
            run("namespace", "-t", ttl, cache, "pages")
            assert re.search(rf"\b{ttl}(00h)?\b", run("namespace", cache).decode()), (ttl, run("namespace", cache))


@test
def one_is_not_told_as_many():
    with Cache() as cache:
        cache.set(b"key", b"value")
        file = temporary()
        run("dump", cache, file)
        assert run.said == "1 entry dumped\n", run.said
        run("load", cache, file)
        assert run.said.startswith("1 entry found, 1 loaded,") and "0 faults in the file, 0 records" in run.said, run.said


@test
def a_cache_that_is_not_there_is_exit_code_1_and_named():
    name = f"test-tool.{os.getpid()}.none"
    for command in (["info", name], ["get", name, "a"], ["set", name, "a", "b"], ["del", name, "a"],
                    ["incr", name, "a"], ["touch", name, "a"], ["ls", name], ["namespace", name], ["flush", name],
                    ["stat", name], ["check", name], ["dump", name], ["load", name], ["destroy", name]):
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


# ---- create, destroy, info ------------------------------------------------------------------------------------------

@test
def create_makes_what_was_asked_for():
    with Cache("--entry-size", "1k", "--mode", "640", "--segments", "64", "--participants", "32", "--namespaces", "40",
               "--instruments", "100k", "--checksum") as cache:
        info = show("info", cache)
        assert info["bytes"] == 8 << 20 and info["mode"] == 0o640, info
        assert 64 <= info["segments"] <= 128 and info["participants"] == 32, info # segments are powers of two
        assert info["checksum"] and not info["plain"], info
        assert info["namespaces"] >= 40, info
        assert 50 << 10 < info["instrument_bytes"] <= 100 << 10, info
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
    room = os.statvfs("/dev/shm")
    megabytes = (room.f_frsize * room.f_blocks >> 20) + 64
    if megabytes >= 256 << 10:
        raise Skip("/dev/shm has room for the largest cache")
    run("create", "--size", f"{megabytes}m", f"test-tool.{os.getpid()}.huge", expect=FAILED)
    assert "/dev/shm" in run.said and re.search(r"\d", run.said.split("huge")[-1]), run.said
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


@test
def info_shows_who_is_attached_and_who_has_died():
    with Cache() as cache:
        with Worker(["hold", cache]) as worker:
            pid = worker.processes[0].pid
            attached = show("info", cache)["attached"]
            assert [(who["pid"], who["alive"], who["command"]) for who in attached] == [(pid, True, "worker")], attached
            assert show("info", cache)["participants_alive"] == 1
            assert re.search(rf"alive +{pid} .* worker$", run("info", cache).decode(), re.M)
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            assert re.search(rf"stopped +{pid} .* worker$", run("info", cache).decode(), re.M)
            assert [(who["alive"], who["stopped"]) for who in show("info", cache)["attached"]] == [(True, True)]
            os.kill(pid, signal.SIGCONT)
        alive = [who for who in show("info", cache)["attached"] if who["alive"]]
        assert not alive, alive
        dead = [who["pid"] for who in show("info", "--dead", cache)["attached"] if not who["alive"]]
        assert pid in dead, dead
        assert cache.get(b"from") == b"user"


# ---- get, set, del, incr, touch -------------------------------------------------------------------------------------

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
def a_full_cache_evicts_only_if_it_may():
    with Cache() as cache:
        subprocess.run([WORKER, "fill", str(cache), "60000"], check=True)
        before = show("stat", cache)
        run("set", "--no-evict", cache, "large", data=bytes(500000), expect=FAILED)
        assert "--no-evict" in run.said, run.said
        run("get", "-q", cache, "large", expect=NOT_FOUND)
        assert show("set", cache, "large", data=bytes(500000))["evicted"] > 0
        assert before["evictions_small"] > 0, before


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
        assert abs(meta["expires_at_ms"] - before - 5400000) < 30000, meta
        assert abs(meta["created_at_ms"] - before) < 30000, meta
        assert 5370000 < meta["ttl_left_ms"] <= 5400000, meta
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
        assert 270000 < left[b"seconds"] <= 300000 and 70000 < left[b"epoch"] <= 101000 and left[b"never"] is None, left
        assert abs(cache.keys()["", b"date"]["expires_at_ms"] - 2000000000000) < 100
        time.sleep(0.4)
        run("get", cache, "short", expect=NOT_FOUND)
        run("set", "-t", "keep", cache, "seconds", "y")
        assert 270000 < show("get", cache, "seconds")["ttl_left_ms"] <= 300000
        run("touch", "-t", "2d", cache, "never", "seconds")
        assert all(172000000 < show("get", cache, key)["ttl_left_ms"] <= 172800000 for key in ("never", "seconds"))
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
        assert entry["counter"] and entry["value"] == "99" and 270000 < entry["ttl_left_ms"] <= 300000, entry
        run("set", cache, "word", "word")
        run("incr", cache, "word", expect=FAILED)
        assert "word" in run.said
        run("incr", cache, "hits", str(2 ** 62 + 8), expect=FAILED)
        run("set", cache, "digits", "7")
        assert run("incr", cache, "digits", "3") == b"10\n"


# ---- ls, namespace, flush -------------------------------------------------------------------------------------------

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
        assert 570000 < show("get", "-N", "pages", cache, "key")["ttl_left_ms"] <= 600000
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


# ---- stat, check ----------------------------------------------------------------------------------------------------

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
            done = subprocess.run([LARDER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  timeout=30, check=False)
            assert done.returncode in (FOUND, NOT_FOUND, FAILED), (command, done.returncode)


main()
