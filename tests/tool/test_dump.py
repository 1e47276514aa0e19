#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Dump files: the round trip of everything that can be in a cache; files damaged in every way, which lose nothing."""
import re
import subprocess
import tempfile
import time
from pathlib import Path

from kit import (DAMAGED, FAILED, FOUND, LARDER, NOT_FOUND, RANDOM, SEED, WORKER, Cache, Worker, lines, main, run,
                 show, temporary, test)

HEADER, HEAD, CHECK = 48, 72, 8
WINDOW = 1 << 20 # how much of a file the reader looks at at a time


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
        name, key, value = dump[at + 17], dump[at + 18:at + 20], dump[at + 24:at + 32]
        size = name + int.from_bytes(key, "little") + int.from_bytes(value, "little")
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
        subprocess.run([WORKER, "fill", str(cache), "10000"], check=True)
        path = temporary()
        run("dump", cache, path)
        summary = show("load", other, path)
        assert summary["found"] == summary["loaded"] > 9000 and summary["evicted"] == 0, summary
        sizes = [{place: (entry["value_bytes"], entry["ttl_left_ms"] is None) for place, entry in each.keys().items()}
                 for each in (cache, other)]
        assert sizes[0] == sizes[1]
        assert run("check", other) == b"no faults\n"


@test
def a_cache_in_use_is_dumped_whole_and_found_without_fault():
    with Cache() as cache, Cache("--size", "32m") as other:
        with Worker(["write", cache, SEED % 1000], ["write", cache, SEED % 1000 + 1]):
            time.sleep(0.3) # until it is full
            for _ in range(5):
                run("flush", "--all", other)
                summary = show("load", other, data=run("dump", cache))
                assert summary["loaded"] > 100 and summary["refused"] == 0, summary
                assert run("check", cache) == b"no faults\n"
                for place in RANDOM.sample(sorted(other.keys()), 40):
                    key = place[1].decode()
                    done = subprocess.run([LARDER, "get", "-q", str(other), key], capture_output=True, check=False)
                    assert done.returncode in (FOUND, NOT_FOUND), done # it may have expired meanwhile
                    piece = done.stdout.partition(b";")[0].decode() + ";"
                    assert not done.stdout or re.fullmatch(rf"{key}/\d;", piece), (key, piece)
                    assert done.stdout == piece.encode() * (len(done.stdout) // len(piece)), key
        assert show("stat", cache)["evictions_small"] > 0, "the writers did not fill the cache"


@test
def dump_can_be_limited():
    with Cache() as cache, Cache() as other:
        fill(cache)
        for options, expected in ((["-N", "pages"], 3), (["-N", ""], 6), (["-p", "plain"], 2),
                                  (["-N", "", "-p", "l"], 2), (["-x", "-p", "0001"], 1), (["-p", "none"], 0)):
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
        assert "more than this cache takes" in run.said
        assert small.writes() == before
        run("load", "--partial", small, data=dump, expect=FAILED)
        assert small.get(b"empty") == b"" and small.get(b"here") == b"before"


@test
def load_evicts_only_if_it_may():
    with Cache() as cache, Cache("--size", "1m") as small:
        subprocess.run([WORKER, "fill", str(cache), "20000"], check=True)
        small.set(b"here", b"before")
        dump = run("dump", cache)
        summary = show("load", "--no-evict", small, data=dump, expect=FAILED)
        assert summary["refused"] > 0 < summary["loaded"] and summary["evicted"] == 0, summary
        assert small.get(b"here") == b"before"
        summary = show("load", small, data=dump)
        assert summary["loaded"] == summary["found"] and summary["evicted"] > 0, summary


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
        points = {*range(HEADER + HEAD), *range(len(dump) - HEAD - 16, len(dump))}
        points |= {*RANDOM.sample(range(len(dump)), 120)}
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
        for other in (parts[:2] + parts[3:], parts[:3] + parts[2:], parts[:2] + [parts[3], parts[2]] + parts[4:],
                      parts[:-1], parts + [parts[-1]], parts + [b"\0"], parts[:-2] + parts[-1:]):
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
            entry, body = dump[start + 16] == 2, dump[start + HEAD:end - CHECK]
            lost = {(ns, key) for ns, key in places if entry and body.startswith(ns.encode() + key + b"value")}
            assert len(lost) == entry, (index, lost)
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
        for damaged, expected in ((bytes(HEADER) + dump[HEADER:], 12), (dump[:ends[-1][0]], 12),
                                  (dump[:entries[5][0] + 90], 5), (dump[:entries[3][0]] + dump[entries[6][0]:], 9),
                                  (b"x" * 100000 + dump, 12),
                                  *((dump[:entries[3][0]] + RANDOM.randbytes(size) + dump[entries[3][0]:], 12)
                                    for size in (2500000, *range(WINDOW - 6, WINDOW + 2)))):
            run("flush", "--all", cache)
            summary = show("load", "--partial", cache, data=damaged, expect=DAMAGED)
            assert summary["loaded"] == expected == len(cache.keys()), (expected, summary)
            assert set(cache.keys()) <= places
        hopeless = bytes(HEADER) + dump[HEADER:-1]
        assert show("load", "--partial", cache, data=hopeless, expect=DAMAGED)["loaded"] == 0
        assert "neither header nor trailer" in run.said


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


main()
