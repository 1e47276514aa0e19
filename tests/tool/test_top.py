#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The live view: frames as they are printed, and the screen of a real terminal (tmux), key by key."""
import os
import re
import shutil
import signal
import subprocess
import time

from kit import FAILED, FOUND, LARDER, NOT_FOUND, RANDOM, USAGE, WORKER, Cache, Redis, Skip, Worker, main, run, show, test

VIEWS = ["namespaces", "participants", "keys", "stores", "memory", "tiers"]


def work(*command):
    subprocess.run([WORKER, *map(str, command)], check=True, timeout=60)


def frame(cache, *options, **more):
    return run("top", "--once", "-d", "200ms", *options, cache, **more).decode()


# ---- Frames in print ------------------------------------------------------------------------------------------------

@test
def one_frame_says_what_stat_says():
    with Cache() as cache, Worker(["serve", cache]) as worker:
        text = frame(cache)
        stat = show("stat", cache)
        assert re.search(rf"^ larder top  {re.escape(str(cache))}  8 MiB  up ", text), text
        assert re.search(r"hit rate \d+\.\d\d%   gets [\d.]+k?/s", text), text
        assert re.search(rf"entries {stat['entries']}, ", text), (stat["entries"], text)
        assert re.search(r"threads 1 of 64", text), text
        assert f"{worker.processes[0].pid}" in frame(cache, "-v", "participants")


@test
def rates_are_those_of_the_interval():
    with Cache() as cache:
        work("ask", cache, 10000)
        with Worker(["serve", cache]):
            before, began = show("stat", cache), time.monotonic()
            text = frame(cache, "-d", "1s")
            after, seconds = show("stat", cache), time.monotonic() - began
        rate = (after["hits"] + after["misses"] - before["hits"] - before["misses"]) / seconds
        said = re.search(r"gets ([\d.]+)(k?)/s", text)
        number = float(said.group(1)) * (1000 if said.group(2) else 1)
        assert 0.6 * rate < number < 1.6 * rate, (rate, text)


@test
def frames_fit_whatever_size_is_asked_for():
    with Cache() as cache, Worker(["serve", cache]):
        run("namespace", "-t", "1h", cache, "\u65e5\u672c\u8a9e " * 6)
        run("namespace", "-t", "1h", cache, "evil \x1b[31m\r\n\t\x9b")
        for columns, rows in [(80, 24), (60, 16), (200, 60), (61, 17), (79, 19), (1000, 20), *[
                (RANDOM.randrange(1, 150), RANDOM.randrange(1, 60)) for _ in range(12)]]:
            view = RANDOM.choice(VIEWS)
            text = frame(cache, "--size", f"{columns}x{rows}", "-d", "100ms", "-v", view, env={**os.environ, "LC_ALL": "C.UTF-8"})
            assert text.count("\n") == rows, (columns, rows, text)
            assert max(map(width, text.split("\n"))) <= columns, (columns, rows, text)
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), ascii(text)
            if columns >= 14:
                assert ("too small" in text) == (columns < 60 or rows < 16), (columns, rows, text)


def width(line):
    return sum(2 if ord(c) > 0x2fff else 1 for c in line)


@test
def ascii_graphs_have_no_other_characters():
    with Cache() as cache, Worker(["serve", cache]):
        assert frame(cache, "--ascii").isascii()
        assert frame(cache, env={**os.environ, "LC_ALL": "C"}).isascii()
        for _ in range(100): # the worker may not have been run between two frames
            text = run("top", "-n", "2", "-d", "100ms", cache, env={**os.environ, "LC_ALL": "C.UTF-8"}).decode()
            if re.search("[\u2581-\u2588]", text):
                break
        assert re.search("[\u2581-\u2588]", text), text


@test
def every_view_has_its_columns_and_filter():
    with Cache() as cache, Worker(["serve", cache], ["hold", cache]):
        for name in "apples", "pears", "plums":
            run("namespace", "-t", "1h", cache, name)
            run("set", "-N", name, cache, "key", "v" * 100 * len(name))
        text = frame(cache, "-v", "namespaces")
        assert text.index("apples") < text.index("pears"), text # by bytes, then
        text = frame(cache, "-v", "namespaces", "-f", "p*s")
        assert "pears" in text and "plums" in text and "apples" not in text.replace("p*s", ""), text
        assert frame(cache, "-v", "participants").count(" alive ") == 2
        text = frame(cache, "-v", "memory")
        assert all(what in text for what in ("pool: small", "pool: main", "ttl: none")), text
        run("set", "-t", "30m", cache, "key", "v" * 100)
        text = frame(cache, "-v", "memory", "--size", "80x40")
        assert re.search(r" 1 +\d+ B +0\.0% .* ttl: up to 30m$", text, re.M), text
        assert re.search(r" 4 +.* sampled: under 1h left$", text, re.M) and "sampled: never expire" in text, text
        assert "no tier over this cache" in frame(cache, "-v", "tiers")
        text = frame(cache, "-v", "stores")
        assert re.search(r"\d+ +0 +\d+[nu]s +\d+[num]s +\d+[num]s get ", text), text
        assert "nothing matches" in frame(cache, "-v", "stores", "-f", "no such store")


@test
def durations_of_gets_are_shown_as_quantiles():
    with Cache() as cache, Worker(["serve", cache]):
        for _ in range(50):
            text = run("top", "-n", "3", "-d", "200ms", cache).decode()
            if "get p50" in text:
                break
        assert re.search(r"get p50 [\d.]+ .s p99 [\d.]+ .s p99\.9 [\d.]+ .s", text), text


@test
def a_tier_and_its_redis_are_shown():
    with Cache("--size", "32m") as cache, Redis() as redis, Worker(["tier", cache, redis.url()]):
        text = frame(cache, "-v", "tiers")
        assert re.search(r"^ redis up   changes heard   dirty 0   queued 0", text, re.M), text
        assert re.search(r"^ heard +- .* tier: redis ", text, re.M) and re.search(rf"^ closed +- .* {redis.path}", text, re.M), text
        redis.process.kill()
        time.sleep(1)
        text = frame(cache, "-v", "tiers")
        assert re.search(r"^ redis cut off 1/1   changes NOT heard   dirty 1   queued 0   gaps 1$", text, re.M), text
        assert re.search(r"^ broken +[\d.]+m?s ", text, re.M) and re.search(r"^ (open|probing) +[\d.]+m?s ", text, re.M), text


@test
def a_stopped_participant_is_shown_as_such():
    with Cache() as cache, Worker(["hold", cache]) as worker:
        worker.stop()
        text = frame(cache, "-v", "participants")
        assert "1 stopped" in text and " stopped " in text.split("COMMAND")[1], text
        worker.processes[0].send_signal(signal.SIGCONT)


@test
def hot_keys_are_shown():
    with Cache("--size", "64m") as cache:
        work("fill", cache, 10)
        work("repeat", cache, 200000)
        text = frame(cache, "-v", "keys")
        assert re.search(r"\d+k? +[\d.]+k? +(\d+|-) +\S+ +#[0-9a-f]{16}", text) and "KEY (#: its hash)" in text, text
        run("monitor", "--hot-keys", "clear", cache)
        work("repeat", cache, 200000)
        text = frame(cache, "-v", "keys")
        assert re.search(r" key:repeated$", text, re.M), text


@test
def wrong_options_are_exit_code_2_and_a_missing_cache_1():
    with Cache() as cache:
        for wrong in ["-d", "1ms"], ["-d", "1h"], ["-v", "nonsense"], ["--size", "80"], ["--size", "0x0"], ["-n", "x"]:
            run("top", "--once", *wrong, cache, expect=USAGE)
        run("top", cache, expect=USAGE) # no terminal
        assert "--once" in run.said
        run("top", "--once", f"{cache}.none", expect=NOT_FOUND)


# ---- A real terminal ------------------------------------------------------------------------------------------------

class Terminal:
    """A tmux of its own, 80x24, that runs the command and then says how it ended."""

    def __init__(self, *arguments, columns=80, rows=24, term="screen-256color"):
        if not shutil.which("tmux"):
            raise Skip("there is no tmux")
        self.tmux = ["tmux", "-L", f"larder-{os.getpid()}-{time.monotonic_ns()}", "-f", "/dev/null"]
        command = " ".join(map(str, [f"TERM={term}", LARDER, "top", "-d", "200ms", *arguments]))
        self.command = [*self.tmux, "-u", "new-session", "-d", "-x", str(columns), "-y", str(rows),
                        f"stty -echo; echo before; {command}; echo ended $?; sleep 60"]

    def __enter__(self):
        subprocess.run(self.command, check=True, env={**os.environ, "LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"}, timeout=20)
        return self

    def __exit__(self, *_):
        subprocess.run([*self.tmux, "kill-server"], check=False, capture_output=True)

    def keys(self, *keys):
        subprocess.run([*self.tmux, "send-keys", *keys], check=True, timeout=10)

    def resize(self, columns, rows):
        subprocess.run([*self.tmux, "resize-window", "-x", str(columns), "-y", str(rows)], check=True, timeout=10)

    def screen(self):
        return subprocess.run([*self.tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True, timeout=10).stdout

    def wait(self, pattern, gone=False):
        for _ in range(100):
            text = self.screen()
            if bool(re.search(pattern, text)) != gone:
                return text
            time.sleep(0.05)
        raise AssertionError(f"{'still' if gone else 'no'} {pattern!r} on:\n{text}")


@test
def the_screen_is_clean_at_80_by_24_and_lives():
    with Cache() as cache, Worker(["serve", cache]), Terminal(cache) as terminal:
        text = terminal.wait(r"hit rate \d+\.\d\d%")
        lines = text.split("\n")
        assert lines[0].startswith(" larder top  ") and lines[23].startswith(" q quit"), text
        assert all(len(line) <= 80 for line in lines) and "before" not in text, text
        terminal.wait("[\u2581-\u2588]{5}")
        first = re.search(r"gets ([\d.]+k?)/s", text).group(1)
        terminal.wait(rf"gets {re.escape(first)}/s", gone=True)
        terminal.keys("q")
        assert "ended 0" in terminal.wait("ended")


@test
def the_state_of_a_tier_is_seen_to_change():
    with Cache("--size", "32m") as cache, Redis() as redis, Worker(["tier", cache, redis.url()]), Terminal(cache) as terminal:
        terminal.wait("redis up   changes heard")
        terminal.keys("t")
        terminal.wait(r"INVAL/S GAPS CONN")
        redis.process.kill()
        terminal.wait("redis cut off 1/1   changes NOT heard   dirty 1")
        text = terminal.wait(r"\n broken ")
        assert all(len(line) <= 80 for line in text.split("\n")), text
        terminal.keys("q")
        terminal.wait("ended 0")


@test
def keys_choose_views_order_and_filter():
    with Cache() as cache, Worker(["serve", cache], ["hold", cache]):
        for name in "apples", "pears", "plums":
            run("set", "-N", name, cache, "key", "v" * 10 * len(name))
        with Terminal(cache) as terminal:
            press_keys(terminal)


def press_keys(terminal):
    terminal.wait("apples")
    terminal.keys("p")
    terminal.wait("COMMAND")
    terminal.keys("Tab")
    terminal.wait("OTHERS")
    terminal.keys("BTab", "m")
    terminal.wait("pool: main")
    terminal.keys("s")
    terminal.wait("TROUBLE")
    terminal.keys("n")
    text = terminal.wait(r"BYTESv")
    terminal.keys("<")
    terminal.wait(r"ENTRIESv")
    terminal.keys("r")
    terminal.wait(r"ENTRIES\^")
    terminal.keys("r", "<", "<")
    text = terminal.wait(r"NAMESPACEv")
    assert text.index("apples") < text.index("pears") < text.index("plums"), text
    terminal.keys("r")
    text = terminal.wait(r"NAMESPACE\^")
    assert text.index("plums") < text.index("pears") < text.index("apples"), text
    terminal.keys("/", "p", "e", "x", "BSpace", "Enter")
    text = terminal.wait("apples", gone=True)
    assert "pears" in text and "filter: pe" in text, text
    terminal.keys("Escape")
    terminal.wait("apples")
    terminal.keys("?")
    terminal.wait("part of it, or a glob")
    terminal.keys("?", "Space")
    terminal.wait("PAUSED")
    terminal.keys("Space", "+")
    terminal.wait("every 0.4 s")
    terminal.keys("-", "-")
    terminal.wait("every 0.1 s")
    terminal.keys("q")
    terminal.wait("ended 0")


@test
def a_long_table_scrolls_to_its_end_and_no_further():
    with Cache() as cache:
        for number in range(40):
            run("namespace", "-t", "1h", cache, f"space{number:02}")
        with Terminal(cache) as terminal:
            terminal.wait("space")
            while "NAMESPACEv" not in terminal.screen():
                terminal.keys("<")
                time.sleep(0.1)
            terminal.wait("space00")
            terminal.keys("End")
            text = terminal.wait("space39")
            assert "space00" not in text, text
            terminal.keys("Down", "Down", "NPage")
            time.sleep(0.3)
            text = terminal.screen()
            assert "space39" in text and "space30" in text, text
            terminal.keys("Up")
            terminal.wait("space39", gone=True)
            terminal.keys("Home")
            terminal.wait("space00")


@test
def it_follows_the_size_of_the_terminal_and_says_if_that_is_too_small():
    with Cache() as cache, Worker(["serve", cache]), Terminal(cache) as terminal:
        terminal.wait("hit rate")
        terminal.resize(40, 10)
        text = terminal.wait("too small: 40x10")
        assert "needs 60x16" in text and "larder top" not in text, text
        terminal.resize(100, 30)
        text = terminal.wait("q quit")
        assert text.split("\n")[29].startswith(" q quit") and "too small" not in text, text
        terminal.resize(60, 16)
        text = terminal.wait("q quit")
        terminal.wait("too small", gone=True)
        for columns, rows in (1, 1), (200, 50), (80, 24):
            terminal.resize(columns, rows)
        terminal.wait("q quit")
        terminal.keys("q")
        terminal.wait("ended 0")


@test
def it_outlives_the_cache_and_finds_the_next_one():
    with Cache() as cache, Terminal(cache) as terminal:
        work("fill", cache, 100)
        terminal.wait("entries 100,")
        run("destroy", cache)
        terminal.wait("looking for it again")
        run("create", "--size", "4m", cache)
        work("fill", cache, 5)
        text = terminal.wait("entries 5,")
        assert "  4 MiB  " in text, text


@test
def an_unknown_terminal_is_an_error_and_one_without_colours_is_none():
    with Cache() as cache:
        with Terminal(cache, term="no-such-terminal") as terminal:
            assert "no-such-terminal" in terminal.wait(f"ended {FAILED}")
        with Terminal(cache, term="vt100") as terminal:
            terminal.wait("q quit")
            terminal.keys("q")
            terminal.wait(f"ended {FOUND}")


@test
def a_signal_leaves_the_terminal_as_it_was():
    with Cache() as cache, Terminal(cache) as terminal:
        terminal.wait("q quit")
        found = subprocess.run(["pgrep", "-f", f"^{re.escape(str(LARDER))} top -d 200ms {re.escape(str(cache))}$"], capture_output=True, text=True,
                               check=True).stdout.split()
        assert len(found) == 1, found
        os.kill(int(found[0]), signal.SIGTERM)
        text = terminal.wait("ended")
        assert "before" in text and "q quit" not in text, text


main()
