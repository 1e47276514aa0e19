# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the command share: running it, caches of their own, and TAP.

A test file registers functions by @test and ends in main().  It is run as

    test_FILE.py LARDER SOURCE_ROOT MANUAL_BUILD_DIRECTORY WORKER [PATTERN ...]

with patterns only the tests whose names contain one of them.  Each test makes caches by names that no other run has,
and destroys them.  The seed of what is drawn at random is printed; LARDER_SEED repeats a run.
"""
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from signal import SIGSTOP
from time import sleep

LARDER, SOURCE, MANUAL, WORKER = (Path(argument).resolve() for argument in sys.argv[1:5])
SEED = int(os.environ.get("LARDER_SEED") or random.SystemRandom().getrandbits(32))
RANDOM = random.Random(SEED)
FOUND, NOT_FOUND, USAGE, FAILED, DAMAGED, ADVICE, FAULT = range(7)
COMMANDS = re.findall(r"^\tX\((\w+)\)", (SOURCE / "tools" / "tool.h").read_text(), re.M)
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


class Worker:
    """Processes that use a cache, killed at the end; see worker.c.  Those that say so are ready."""

    def __init__(self, *commands):
        self.processes = [subprocess.Popen([WORKER, *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                          for command in commands]

    def __enter__(self):
        said = [process.stdout.readline() for process in self.processes]
        assert said == [b"ready\n"] * len(said), said
        return self

    def __exit__(self, *_):
        ended = [process.poll() for process in self.processes]
        for process in self.processes:
            process.kill()
            process.communicate()
        assert ended == [None] * len(ended), f"workers ended by themselves: {ended}"

    def stop(self):
        """Stops the first one, and waits until it stands."""
        self.processes[0].send_signal(SIGSTOP)
        while Path(f"/proc/{self.processes[0].pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "Tt":
            sleep(0.005)


class Server:
    """A server on a socket in the run's directory, killed at the end."""

    def __init__(self, program, *arguments):
        if not shutil.which(program):
            raise Skip(f"there is no {program}")
        self.path = temporary()
        self.command = [program, *(argument.replace("SOCKET", str(self.path)) for argument in arguments)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.connection = socket.socket(socket.AF_UNIX)
                self.connection.connect(str(self.path))
                break
            except OSError:
                self.connection.close()
                time.sleep(0.02)
        else:
            self.process.kill()
            raise AssertionError(f"{self.command} did not start")
        self.file = self.connection.makefile("rwb")
        return self

    def __exit__(self, *_):
        self.file.close()
        self.connection.close()
        self.process.kill()
        self.process.wait()


class Redis(Server):
    def __init__(self, *more):
        super().__init__("redis-server", "--port", "0", "--unixsocket", "SOCKET", "--save", "", "--daemonize", "no", *more)

    def send(self, *parts):
        data = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        self.file.write(b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in data))
        self.file.flush()
        answer = self.file.readline()
        assert answer[:1] in b"+:", (parts, answer)

    def url(self, rest=""):
        return f"unix://{self.path}{rest}"


class Memcached(Server):
    def __init__(self):
        super().__init__("memcached", "-s", "SOCKET", "-u", "root" if os.geteuid() == 0 else "nobody", "-m", "64")

    def send(self, command, data):
        self.file.write(command.encode() + b"\r\n" + data + b"\r\n")
        self.file.flush()
        assert self.file.readline() == b"STORED\r\n", command

    def url(self):
        return f"memcached://{self.path}"


def counters():
    text = (SOURCE / "include" / "larder" / "counters.def").read_text()
    return re.findall(r'^LARDER_COUNTER\((\w+), "(.*)"\)$', text, re.M)


def definitions(file, macro):
    """Names of a .def file."""
    return re.findall(rf"^{macro}\((\w+),", (SOURCE / "include" / "larder" / file).read_text(), re.M)


def remote_names():
    """{name: whether it is a counter} of what is told of tiers and servers."""
    names = {"tier_live": False, "tier_held": False, "dirty_entries": False, "breaker_open": False}
    for prefix, file in ("tier_", "tiered.def"), ("breaker_", "breaker.def"):
        names |= {prefix + name: True for name in definitions(file, "LARDER_COUNTER")}
        names |= {prefix + name: False for name in definitions(file, "LARDER_GAUGE")}
    return names | {"redis_" + name: True for name in definitions("redis.def", "LARDER_REDIS_COUNTER")}


def served(name, counter):
    """What Prometheus calls it."""
    return f"larder_{name}_total" if counter else f"larder_{re.sub('_ms$', '_seconds', name)}"


def passes(number, function):
    """Runs one test and prints its line."""
    name = function.__name__.replace("_", " ")
    try:
        function()
    except Skip as why:
        print(f"ok {number} - {name} # SKIP {why}", flush=True)
        return True
    except Exception: # pylint: disable=broad-except
        print(f"not ok {number} - {name}")
        print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), flush=True)
        return False
    print(f"ok {number} - {name}", flush=True)
    return True


def main():
    patterns = sys.argv[5:]
    chosen = [function for function in TESTS if not patterns or any(word in function.__name__ for word in patterns)]
    print(f"1..{len(chosen)}\n# seed {SEED}", flush=True)
    with tempfile.TemporaryDirectory(prefix="larder-tool-") as temporary.directory:
        failed = sum(not passes(number, function) for number, function in enumerate(chosen, 1))
    sys.exit(1 if failed else 0)
