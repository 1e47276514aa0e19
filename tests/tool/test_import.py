#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Import from real servers that the test starts, and from files whole and broken."""
import json
import os
import shutil
import socket
import subprocess
import threading
import time

from kit import (DAMAGED, FAILED, FOUND, LARDER, NOT_FOUND, RANDOM, USAGE, Cache, Memcached, Redis, lines, main, run, show, temporary,
                 test)

def bring(cache, source, *options, expect=FOUND, **more):
    return json.loads(run("import", "--json", "--from", source, *options, cache, expect=expect, **more))


def values(cache):
    return {(entry["namespace"], entry["key"]): run("get", "-N", entry["namespace"], cache, entry["key"])
            for entry in lines("ls", "--all", cache)}


# ---- Redis ----------------------------------------------------------------------------------------------------------

@test
def redis_values_come_with_their_time_to_live():
    with Redis() as redis, Cache() as cache:
        redis.send("SET", "plain", "one")
        redis.send("SET", "with ttl", "two", "PX", 3600000)
        redis.send("SET", b"binary", bytes(range(256)))
        redis.send("SET", "empty", "")
        redis.send("SET", "number", "42")
        redis.send("RPUSH", "a list", "x")
        redis.send("SET", "soon gone", "x", "PX", 1)
        time.sleep(0.01)
        said = bring(cache, redis.url())
        assert said["imported"] == 5 and said["skipped"] == 1 and said["bad"] == said["refused"] == 0, said
        assert values(cache) == {("", "plain"): b"one", ("", "with ttl"): b"two", ("", "binary"): bytes(range(256)),
                                 ("", "empty"): b"", ("", "number"): b"42"}
        left = {entry["key"]: entry["ttl_left_ms"] for entry in lines("ls", cache)}
        assert left["plain"] is None and 3590000 < left["with ttl"] <= 3600000, left


@test
def every_key_of_a_large_redis_arrives():
    with Redis() as redis, Cache("--size", "32m") as cache:
        count = 20000
        data = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$%d\r\n%s\r\n" % (len(str(i)) + 4, i, len(str(i * i)), str(i * i).encode())
                        for i in range(count))
        redis.file.write(data)
        redis.file.flush()
        for _ in range(count):
            assert redis.file.readline() == b"+OK\r\n"
        said = bring(cache, redis.url())
        assert said["imported"] >= count and said["evicted"] == 0, said # SCAN may show a key twice
        found = {entry["key"] for entry in lines("ls", cache)}
        assert found == {f"key:{i}" for i in range(count)}
        for i in RANDOM.sample(range(count), 50):
            assert run("get", cache, f"key:{i}") == str(i * i).encode()


@test
def redis_keys_are_chosen_stripped_and_split():
    with Redis() as redis, Cache() as cache:
        for key in "app:users:1", "app:users:2", "app:pages:1", "other":
            redis.send("SET", key, key)
        said = bring(cache, redis.url(), "--match", "app:*", "--prefix-strip", "app:", "--split")
        assert said["imported"] == 3, said
        assert set(values(cache)) == {("users", "1"), ("users", "2"), ("pages", "1")}, values(cache)
    with Redis() as redis, Cache() as cache:
        redis.send("SET", "a%3Ab:key%3Aleft", "v") # what is behind the first colon is the engine's key as it stands
        redis.send("SET", "nocolon", "v")
        redis.send("SET", "b%2:x", "v")
        said = bring(cache, redis.url(), "--split", expect=DAMAGED)
        assert said["imported"] == 1 and said["bad"] == 2, said
        assert set(values(cache)) == {("a:b", "key%3Aleft")}, values(cache)
        said = bring(cache, redis.url(), "--namespace", "all of it")
        assert said["imported"] == 3 and ("all of it", "nocolon") in values(cache)


@test
def another_database_a_password_and_a_user_are_used():
    with Redis("--requirepass", "s3cret@:/") as redis, Cache() as cache:
        run("import", "--from", redis.url(), cache, expect=FAILED)
        assert "NOAUTH" in run.said, run.said
        redis.send("AUTH", "s3cret@:/")
        redis.send("SELECT", 3)
        redis.send("SET", "key", "in 3")
        environment = {**os.environ, "REDISCLI_AUTH": "s3cret@:/"}
        assert bring(cache, redis.url(), env=environment)["found"] == 0
        assert bring(cache, redis.url("?db=3"), env=environment)["imported"] == 1
    if not shutil.which("redis-server"):
        raise Skip("there is no redis-server")
    port = free_port()
    with Redis("--port", str(port), "--user", "ann", "on", ">:pa%s@/", "~*", "+@all") as redis, Cache() as cache:
        redis.send("SELECT", 2)
        redis.send("SET", "key", "value")
        assert bring(cache, f"redis://ann:%3apa%25s%40%2F@127.0.0.1:{port}/2")["imported"] == 1
        run("import", "--from", f"redis://ann:wrong@localhost:{port}", cache, expect=FAILED)
        assert "AUTH" in run.said and "wrong" not in run.said.split(": AUTH")[1], run.said


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@test
def a_server_that_is_not_there_or_says_nothing_is_an_error_in_time():
    with Cache() as cache, socket.socket() as silent:
        run("import", "--from", f"redis://127.0.0.1:{free_port()}", cache, expect=FAILED)
        assert "refused" in run.said, run.said
        run("import", "--from", f"memcached://127.0.0.1:{free_port()}", cache, expect=FAILED)
        assert "refused" in run.said, run.said
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for scheme in "redis", "memcached":
            began = time.monotonic()
            run("import", "--timeout", "200ms", "--from", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", cache, expect=FAILED)
            assert time.monotonic() - began < 5 and run.said, run.said


@test
def a_redis_killed_in_the_middle_leaves_what_had_come():
    with Redis() as redis, Cache("--size", "64m") as cache:
        data = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%d\r\n$1\r\nx\r\n" % (len(str(i)), i) for i in range(150000))
        redis.file.write(data)
        redis.file.flush()
        for _ in range(150000):
            redis.file.readline()
        with subprocess.Popen([LARDER, "import", "--json", "--from", redis.url(), str(cache)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as importer:
            while show("stat", cache)["entries"] < 1000:
                time.sleep(0.005)
            redis.process.kill()
            said, complaint = importer.communicate()
        assert importer.returncode == FAILED and complaint, complaint
        assert 1000 <= json.loads(said)["imported"] < 150000 and show("stat", cache)["entries"] >= 1000, said


# ---- memcached ------------------------------------------------------------------------------------------------------

@test
def memcached_values_come_with_flags_and_time_to_live():
    with Memcached() as server, Cache() as cache:
        server.send("set plain 7 0 3", b"one")
        server.send("set ttl 0 3600 3", b"two")
        server.send("set binary 4294967295 0 256", bytes(range(256)))
        server.send("set p%c:\u00e4 0 0 0", b"")
        server.send("set short 0 1 1", b"x")
        time.sleep(2.1)
        said = bring(cache, server.url())
        assert said["imported"] == 4 and said["bad"] == said["refused"] == 0, said
        assert values(cache) == {("", "plain"): b"one", ("", "ttl"): b"two", ("", "binary"): bytes(range(256)),
                                 ("", "p%c:\u00e4"): b""}
        entries = {entry["key"]: entry for entry in lines("ls", cache)}
        assert entries["plain"]["flags"] == 7 and entries["binary"]["flags"] == 4294967295, entries
        assert entries["plain"]["ttl_left_ms"] is None and 3500000 < entries["ttl"]["ttl_left_ms"] <= 3601000, entries


@test
def every_key_of_a_large_memcached_arrives():
    with Memcached() as server, Cache("--size", "32m") as cache:
        count = 100000
        server.file.write(b"".join(b"set key:%d 0 0 %d noreply\r\n%s\r\n" % (i, len(str(i)), str(i).encode())
                                   for i in range(count)))
        server.send("set key:last 0 0 1", b"x")
        said = bring(cache, server.url(), "--prefix-strip", "key:", "-N", "from memcached")
        assert said["imported"] == count + 1 and said["skipped"] == 0, said
        assert {entry["key"] for entry in lines("ls", "-N", "from memcached", cache)} == {*map(str, range(count)), "last"}


class OldMemcached:
    """Says what a server says that knows no walk along the hash table: a stand-in, since Debian has none so old."""

    def __init__(self):
        self.path = temporary()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.path))
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        for connection in self.socket.accept()[0], self.socket.accept()[0]:
            threading.Thread(target=self.answer, args=[connection.makefile("rwb")], daemon=True).start()

    @staticmethod
    def answer(stream):
        busy = True
        for line in stream:
            if line == b"lru_crawler metadump hash\r\n":
                stream.write(b"CLIENT_ERROR invalid argument\r\n")
            elif line == b"lru_crawler metadump all\r\n" and busy:
                stream.write(b"BUSY currently processing crawler request\r\n")
                busy = False
            elif line.startswith(b"lru_crawler"):
                stream.write(b"key=a exp=-1 la=1 cas=7 fetch=no cls=1 size=60\r\nnonsense\r\n"
                             b"key=b%20c exp=-1 la=1 cas=8 fetch=no cls=1 size=60\r\nEND\r\n")
            else:
                assert line == b"gets a\r\n", line
                stream.write(b"VALUE a 3 5 7\r\nhello\r\nEND\r\n")
            stream.flush()


@test
def an_old_memcached_is_asked_in_the_old_way():
    with Cache() as cache:
        said = bring(cache, f"memcached://{OldMemcached().path}", expect=DAMAGED)
        assert said["imported"] == 1 and said["bad"] == 2 and run("get", cache, "a") == b"hello", (said, run.said)


@test
def what_is_set_anew_while_memcached_is_read_is_never_kept_too_long():
    """The dump says: never expires.  Whatever was set anew with a time to live must not be imported without one."""
    with Memcached() as server, Cache("--size", "32m") as cache:
        count = 20000
        server.file.write(b"".join(b"set %d 0 0 3 noreply\r\nold\r\n" % i for i in range(count)))
        server.file.flush()
        with subprocess.Popen([LARDER, "import", "--json", "--from", server.url(), str(cache)], stdout=subprocess.PIPE) as importer:
            while importer.poll() is None:
                server.file.write(b"".join(b"set %d 0 3600 3 noreply\r\nnew\r\n" % RANDOM.randrange(count) for _ in range(200)))
                server.file.flush()
            said = json.loads(importer.stdout.read())
        assert importer.returncode == FOUND and said["bad"] == 0 and said["imported"] > 0, said
        for entry in lines("ls", cache)[:3000:10]:
            value = run("get", cache, entry["key"])
            assert (value == b"new") == (entry["ttl_left_ms"] is not None), (entry, value)


# ---- CSV ------------------------------------------------------------------------------------------------------------

def file(text, suffix):
    path = temporary()
    path = path.with_name(path.name + suffix)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@test
def csv_has_columns_in_any_order_quotes_and_line_ends():
    with Cache() as cache:
        source = file('flags,value,key,namespace,ttl_ms\r\n1,plain,a,,\r\n2,"with, comma",b,space,60000\r\n'
                      '3,"two\nlines and ""marks""",c,,\r\n,"",d,,\n,last without end,e,,', ".csv")
        said = bring(cache, source)
        assert said["imported"] == 5 and said["bad"] == 0, said
        assert values(cache) == {("", "a"): b"plain", ("space", "b"): b"with, comma", ("", "c"): b'two\nlines and "marks"',
                                 ("", "d"): b"", ("", "e"): b"last without end"}
        entries = {entry["key"]: entry for entry in lines("ls", "--all", cache)}
        assert [entries[key]["flags"] for key in "abcde"] == [1, 2, 3, 0, 0] and 50000 < entries["b"]["ttl_left_ms"] <= 60000


@test
def a_bad_line_is_named_by_number_and_costs_itself_alone():
    with Cache() as cache:
        source = file('key,value,ttl_ms\na,1,\nb,2\nc,3,soon\n"d,4,\ne,5,\nf,x"y,\n,7,\ng,"8"x,\nh,9,-5\ni,10,\n', ".csv")
        said = bring(cache, source, expect=DAMAGED)
        assert said["bad"] == 7, (said, run.said)
        for number in 3, 4, 5, 7, 8, 9, 10:
            assert f"line {number}:" in run.said, (number, run.said)
        assert set(values(cache)) == {("", "a"), ("", "e"), ("", "i")}, run.said


@test
def csv_columns_are_mapped_and_hexadecimal_is_read():
    with Cache() as cache:
        source = file("id,body,when\n7,hello,x\n", ".csv")
        run("import", "-q", "--from", source, cache, expect=DAMAGED)
        assert "'key'" in run.said and "--map" in run.said, run.said
        assert bring(cache, source, "--map", "key=id,value=body")["imported"] == 1
        assert "column 'when' is not used" in run.said, run.said
        assert bring(cache, file("key,value,ttl\nq,1,5\n", ".csv"))["imported"] == 1
        assert "column 'ttl' is not used; if it is in milliseconds, say --map ttl_ms=ttl" in run.said, run.said
        source = file("key_hex,value_hex\n6162,00ff\n616,00\n63,zz\n", ".csv")
        said = bring(cache, source, expect=DAMAGED)
        assert said["imported"] == 1 and said["bad"] == 2 and run("get", cache, "ab") == b"\x00\xff"
        run("import", "--map", "nonsense=x", "--from", source, cache, expect=USAGE)
        run("import", "--map", "key", "--from", source, cache, expect=USAGE)


@test
def a_value_longer_than_what_is_read_at_once_is_whole():
    with Cache("--size", "32m") as cache:
        value = bytes(RANDOM.randrange(32, 127) for _ in range(300000)).replace(b'"', b'""').replace(b"~", b"\n")
        source = file(b"key,value\nsmall,1\nlarge,\"" + value + b"\"\nafter,2\n", ".csv")
        assert bring(cache, source)["imported"] == 3
        assert run("get", cache, "large") == value.replace(b'""', b'"') and run("get", cache, "after") == b"2"


@test
def random_tables_come_back_as_they_were():
    import csv
    import io
    for quoting, alphabet in [(csv.QUOTE_ALL, 'ab",\n\r x\u00e4'), (csv.QUOTE_MINIMAL, 'ab",\n x\u00e4')] * 10: # leaves a CR bare
        rows = {"".join(RANDOM.choice(alphabet) for _ in range(RANDOM.randrange(1, 9))):
                "".join(RANDOM.choice(alphabet) for _ in range(RANDOM.randrange(0, 30))) for _ in range(50)}
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=RANDOM.choice(["\n", "\r\n"]), quoting=quoting)
        writer.writerow(["key", "value"])
        writer.writerows(rows.items())
        with Cache("--size", "1m") as cache:
            assert bring(cache, file(text.getvalue(), ".csv"))["imported"] == len(rows)
            assert {entry["key"] for entry in lines("ls", cache)} == set(rows)
            for key in RANDOM.sample(list(rows), 5):
                assert run("get", cache, key) == rows[key].encode(), (key, rows[key])


@test
def broken_tables_never_harm_and_are_counted():
    good = b"key,value\n" + b"".join(b"key:%d,\"value %d\"\n" % (i, i) for i in range(200))
    for _ in range(60):
        data = bytearray(good)
        for _ in range(RANDOM.randrange(1, 6)):
            data[RANDOM.randrange(10, len(data))] = RANDOM.choice(b'",\n\r\0x\xff')
        with Cache("--size", "1m") as cache:
            done = subprocess.run([LARDER, "import", "-j", "--from", file(bytes(data), ".csv"), str(cache)], capture_output=True,
                                  check=False, timeout=20)
            said = json.loads(done.stdout)
            assert done.returncode in (FOUND, DAMAGED) and (done.returncode == DAMAGED) == (said["bad"] > 0), (done, data)
            assert said["imported"] > 150, (said, bytes(data))


# ---- JSON lines -----------------------------------------------------------------------------------------------------

@test
def json_lines_have_strings_numbers_objects_and_times():
    with Cache() as cache:
        soon = int(time.time() * 1000) + 600000
        source = file("\n".join(json.dumps(record) for record in [
            {"key": "text", "value": "h\u00e4llo\u0000", "flags": 5, "ttl_ms": None}, {"key": "number", "value": 17},
            {"key": "object", "value": {"b": [1, 2.5], "a": None}, "namespace": "space"},
            {"key_hex": "00ff", "value_hex": "01", "expires_at_ms": soon}, {"key": "gone", "value": "", "expires_at_ms": 5},
        ]) + "\n\n", ".jsonl")
        said = bring(cache, source)
        assert said["imported"] == 4 and said["expired"] == 1 and said["bad"] == 0, said
        assert run("get", cache, "text") == "h\u00e4llo\0".encode() and run("get", cache, "number") == b"17"
        assert json.loads(run("get", "-N", "space", cache, "object")) == {"b": [1, 2.5], "a": None}
        assert cache.get(b"\x00\xff") == b"\x01"
        entry = [entry for entry in lines("ls", cache) if "key_hex" in entry][0]
        assert abs(entry["expires_at_ms"] - soon) < 20, entry


@test
def a_bad_json_line_is_named_by_number_and_costs_itself_alone():
    with Cache("--size", "1m") as cache:
        bad = ["{", "[1]", '{"key":"x"}', '{"value":"x"}', '{"key":"","value":"x"}', '{"key":"a","key":"b","value":""}',
               '{"key":"a","value":"","flags":-1}', '{"key":"a","value":"","ttl_ms":"soon"}', '{"key":"a","key_hex":"61","value":""}',
               '{"key":"refused","value":"' + "x" * 600000 + '"}', '{"key":"' + "k" * 5000 + '","value":""}', '{"key":"big","value":"' + "x" * 3000000 + '"}', "\u00e4\u00f6", "\0\1\2"]
        text = "".join(f'{line}\n{{"key":"good:{i}","value":"{i}"}}\n' for i, line in enumerate(bad))
        said = bring(cache, file(text, ".jsonl"), expect=FAILED) # the large one is refused
        assert said["bad"] + said["refused"] == len(bad) and said["imported"] == len(bad), (said, run.said)
        complaints = run.said
        for i in range(len(bad)):
            assert f"line {2 * i + 1}:" in complaints or "refused" in bad[i], (i, complaints)
            assert run("get", cache, f"good:{i}") == str(i).encode()


@test
def standard_input_is_a_source_and_its_format_is_asked_for():
    with Cache() as cache:
        assert bring(cache, "-", "--format", "jsonl", data=b'{"key":"a","value":"1"}\n')["imported"] == 1
        assert bring(cache, "-", "--format", "csv", data=b"key,value\nb,2\n")["imported"] == 1
        for wrong in ["-"], ["nonsense"], ["rediss://host"], ["redis://host:99999"], ["redis://[::1"], ["redis://h/x"], ["unix://"], \
                ["memcached://h?x=1"], ["-", "--format", "dump"], ["x.csv", "--format", "xml"], ["x.csv", "-N", "n", "--split"], \
                ["x.csv", "-t", "keep"]:
            run("import", cache, "--from", *wrong, expect=USAGE)
        run("import", cache, expect=USAGE)
        run("import", cache, "--from", "/nowhere/x.csv", expect=FAILED)
        assert "/nowhere/x.csv" in run.said
        run("import", f"{cache}.none", "--from", "x.csv", expect=NOT_FOUND)


# ---- Dumps, and what all sources share ------------------------------------------------------------------------------

@test
def a_dump_is_a_source_and_its_damage_costs_its_records_alone():
    with Cache() as first, Cache() as second:
        for i in range(100):
            first.set(b"key:%d" % i, b"value:%d" % i)
        run("incr", first, "counter", "5")
        path = temporary().with_suffix(".dump")
        path.write_bytes(run("dump", first))
        assert bring(second, path)["imported"] == 101
        assert first.contents() == second.contents()
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        with Cache() as third:
            said = bring(third, file(bytes(data), ".dump"), expect=DAMAGED)
            assert said["bad"] == 1 and said["imported"] == 100, said


@test
def a_dry_run_changes_nothing_and_finds_the_same_faults():
    with Cache() as cache:
        source = file("key,value\na,1\nb\nc,3\n", ".csv")
        before = cache.writes()
        said = bring(cache, source, "--dry-run", "-N", "fresh", expect=DAMAGED)
        assert said["imported"] == 2 and said["bad"] == 1 and said["dry_run"] and cache.writes() == before, said
        assert "fresh" not in run("namespace", cache).decode()


@test
def keep_ttl_and_refusals_are_as_with_load():
    with Cache("--size", "1m") as cache:
        cache.set(b"a", b"old")
        source = file("key,value,ttl_ms\na,new,\nb,2,\nc,3,5000\n", ".csv")
        said = bring(cache, source, "--keep", "-t", "1h")
        assert said["kept"] == 1 and said["imported"] == 2 and run("get", cache, "a") == b"old", said
        left = {entry["key"]: entry["ttl_left_ms"] for entry in lines("ls", cache)}
        assert left["b"] > 3500000 and left["c"] <= 5000, left
        many = file("key,value\n" + "".join(f"{i},{'x' * 1000}\n" for i in range(3000)), ".csv")
        said = bring(cache, many, "--no-evict", expect=FAILED)
        assert said["refused"] > 0 and said["evicted"] == 0 and said["imported"] + said["refused"] == 3000, said


@test
def progress_is_said_every_second_if_asked_for():
    with Cache() as cache:
        reader, writer = os.pipe()
        with subprocess.Popen([LARDER, "import", "--progress", "--format", "jsonl", "--from", "-", str(cache)], stdin=reader,
                              stderr=subprocess.PIPE, text=True) as importer:
            os.close(reader)
            for i in range(6):
                os.write(writer, b"".join(b'{"key":"%d.%d","value":"x"}\n' % (i, j) for j in range(3000)))
                time.sleep(0.4)
            os.close(writer)
            said = importer.stderr.read()
        assert importer.wait() == FOUND and said.count(" a second\n") >= 2 and "18000 imported" in said, said


main()
