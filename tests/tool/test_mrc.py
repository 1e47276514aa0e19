#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""larder mrc: what it says of a cache of another size is what a cache of that size does, within two points.

Which keys are traced is up to the cache's hash seed, and a curve of these small caches is off by 0.3 to 0.9 points (standard
deviation) for it: of CURVES caches the mean must be within two points, and each within four.

LARDER_TRACES names a directory of traces (NAME.id32.xz, NAME.idsize32.xz: little-endian u32 key, u32 bytes); without it, those tests
are left out.
"""
import json
import lzma
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

from kit import FAILED, LARDER, NOT_FOUND, USAGE, WORKER, Cache, Skip, main, run, show, temporary, test

POINTS = 0.02
SCALES = (0.5, 1, 2, 4)
CURVES = 4


def gets(cache):
    stat = show("stat", cache)
    return stat["hits"], stat["hits"] + stat["misses"]


def rate_since(cache, before):
    hits, total = gets(cache)
    return (hits - before[0]) / (total - before[1])


def predicted(curve):
    return {size["scale"]: size["hit_rate"] for size in curve["sizes"]}


def work(cache, what):
    return subprocess.run([WORKER, what[0], str(cache), *map(str, what[1:])], check=True, stdout=subprocess.PIPE).stdout


def options_of(size, scale):
    """An eighth is for the instruments, up to as much as a usual cache of 300 MiB has, so that many keys are traced; other fixed
    areas are kept small, for they do not grow with the cache."""
    return ("--size", int(size * scale), "--instruments", int(min(size / 8 - 4096, 1500000) * scale), "--participants", "4", "--namespaces", "16")


def followed(cache, what):
    """The curve of a `larder mrc` that follows the cache during the work, and is interrupted after it."""
    follower = subprocess.Popen([LARDER, "mrc", "--json", "--for", "100s", str(cache)], stdout=subprocess.PIPE)
    time.sleep(0.3)
    work(cache, what)
    time.sleep(0.3)
    follower.send_signal(signal.SIGINT)
    return json.loads(follower.communicate(timeout=30)[0])


def worked(what, size, scale, before, follow):
    """[hit rate during the work, and from the start], and the curve, of a cache that did the work after another."""
    with Cache(*options_of(size, scale)) as cache:
        if before:
            work(cache, before)
        began = gets(cache)
        if follow:
            curve = followed(cache, what)
        else:
            work(cache, what)
            curve = show("mrc", cache)
        return [rate_since(cache, began), rate_since(cache, (0, 0))], curve


def replayed(what, size, before=None, follow=False):
    """{scale: hit rate} of caches of these sizes, and what mrc says of some of the present one; both of the same time."""
    present = [worked(what, size, 1, before, follow) for _ in range(CURVES)]
    curves = [curve for _, curve in present]
    whole = curves[0]["whole"]
    assert all(curve["whole"] == whole for curve in curves), curves
    truth = {scale: worked(what, size, scale, before, False)[0][whole] for scale in SCALES if scale != 1}
    truth[1] = sum(rates[whole] for rates, _ in present) / CURVES
    return truth, curves


def assert_close(truth, curves, points=POINTS):
    for told in map(predicted, curves):
        print("#", *(f"{scale}x {truth[scale]:.3f} (told {told[scale]:.3f})" for scale in sorted(truth)), flush=True)
        for scale in truth:
            assert abs(truth[scale] - told[scale]) <= 2 * points, (scale, truth, told)
    for scale in truth:
        mean = sum(predicted(curve)[scale] for curve in curves) / len(curves)
        assert abs(truth[scale] - mean) <= points, (scale, truth, mean)


@test
def the_curve_is_that_of_real_caches_of_other_sizes():
    truth, curves = replayed(("zipf", 100000, 500000, 1), 6 << 20)
    assert curves[0]["whole"] and truth[4] - truth[0.5] > 0.15, truth
    assert_close(truth, curves)


@test
def the_curve_of_a_cache_long_at_work_is_there_at_a_glance():
    """The ring has come round many times, and nobody followed it."""
    truth, curves = replayed(("zipf", 120000, 1500000, 2), 8 << 20, before=("zipf", 120000, 2500000, 1))
    assert all(not curve["whole"] and curve["gets"] < 1200000 for curve in curves), curves
    assert_close(truth, curves)


@test
def the_curve_of_a_cache_long_at_work_is_had_by_following_it():
    truth, curves = replayed(("zipf", 120000, 1500000, 2), 8 << 20, before=("zipf", 120000, 700000, 1), follow=True)
    assert_close(truth, curves)


@test
def keys_that_never_come_again_have_no_curve():
    with Cache("--size", "6m", "--instruments", "700k") as cache:
        work(cache, ("zipf", 50000, 300000, 1))
        of = {one["namespace"]: predicted(one) for one in show("mrc", cache)["namespaces"]}
        assert set(of) == {"", "once", "even"} and of["once"][4] < 0.01 and of[""][4] > of[""][0.5] + 0.1, of
        assert of["even"][2] > of["even"][0.25] + 0.3, of # 0.54 ± 0.03 as the hash seed falls
        text = run("mrc", "-N", "once", cache).decode()
        assert "namespace once" in text and text.count("\n") > 22, text


@test
def a_namespace_that_has_all_gets_has_the_curve_of_all():
    """Of a key with a tenth of the gets, which is hardly in the sample: what was measured of all is measured of the namespace."""
    with Cache("--size", "16m", "--instruments", "100k") as cache:
        run("set", cache, "key:repeated", "x")
        subprocess.run([WORKER, "fill", str(cache), "40000"], check=True)
        subprocess.run([WORKER, "ask", str(cache), "100000"], check=True)
        subprocess.run([WORKER, "repeat", str(cache), "12000"], check=True)
        curve = show("mrc", cache)
        alone, = curve["namespaces"]
        assert curve["keys_to_a_sampled_one"] > 1 and alone["namespace"] == "", curve
        assert alone["sizes"] == curve["sizes"], (alone, curve)


@test
def the_level_of_one_namespace_of_several_is_as_doubtful_as_its_sample():
    with Cache("--size", "16m", "--instruments", "100k") as cache:
        work(cache, ("zipf", 100000, 300000, 1))
        present = {one["namespace"]: size for one in show("mrc", cache)["namespaces"] for size in one["sizes"] if size["scale"] == 1}
        assert set(present) == {"", "once", "even"} and all(0.001 < size["error"] < 0.5 for size in present.values()), present


@test
def the_curve_of_a_namespace_is_that_of_real_caches_too():
    """Of all gets, not of the traced keys alone, one of which may have many of them."""
    truth = {}
    for scale in SCALES:
        with Cache(*options_of(6 << 20, scale)) as cache:
            rates = json.loads(work(cache, ("zipf", 100000, 1000000, 3)))
            truth[scale] = rates
            if scale == 1:
                curves = {one["namespace"]: one for one in show("mrc", cache)["namespaces"]}
    for name in ("", "even"):
        # A sample of 4000 or 2400 gets is 2.5 points off at three sigma; where the curve of an evenly used namespace is steep, more.
        assert_close({scale: truth[scale][name] for scale in SCALES[1:]}, [curves[name]], 0.045)
        assert_close({0.5: truth[0.5][name]}, [curves[name]], 0.08)


@test
def what_the_trace_is_too_short_for_is_not_said():
    with Cache("--size", "16m", "--instruments", "22k") as cache:
        work(cache, ("zipf", 300000, 3000000, 1))
        curve = show("mrc", cache)
        told = predicted(curve)
        assert not curve["whole"] and told[1] is not None and told[4] is None, told
        text = run("mrc", "--want", "99", cache).decode()
        assert "too short" in text and "--for" in text and " ?" in text, text


@test
def a_size_is_recommended():
    with Cache("--size", "6m", "--instruments", "700k") as cache:
        work(cache, ("zipf", 50000, 300000, 1))
        curve = predicted(show("mrc", cache))
        want = (curve[1] + curve[2]) / 2
        told = show("mrc", "--want", f"{100 * want}", cache)
        assert 6 << 20 < told["wanted_bytes"] < 12 << 20, told
        assert show("mrc", "--want", "99.9", cache)["wanted_bytes"] is None
        assert "more than 4 times" in run("mrc", "--want", "99.9%", cache).decode()
        assert "times the present size" in run("mrc", "--want", f"{100 * want:.3f}", cache).decode()
        for wrong in ("0", "100", "x", "-3"):
            run("mrc", "--want", wrong, cache, expect=USAGE)


@test
def a_trace_that_has_come_round_is_enough_for_a_curve():
    with Cache("--size", "30m", "--entry-size", "17k") as cache: # whose ring is as long as what is read at a time
        subprocess.run([WORKER, "zipf", str(cache), "50000", "500000", "1"], check=True)
        told = show("mrc", cache)
        assert told["sampled_accesses"] > 2000 and 100 < told["sampled_gets"] < told["sampled_accesses"], told
        rate, curve = rate_since(cache, (0, 0)), predicted(told)
        assert abs(curve[1] - rate) < 0.15, (rate, curve)


@test
def it_follows_a_cache_at_work():
    with Cache("--size", "6m", "--instruments", "400k") as cache:
        worker = subprocess.Popen([WORKER, "zipf", str(cache), "60000", "100000000", "1"], stdout=subprocess.DEVNULL)
        try:
            run("mrc", "--for", "2s", cache)
            followed = show("mrc", "--for", "2s", cache)
            before = show("stat", cache)
        finally:
            worker.kill()
            worker.wait()
        rate = before["hits"] / (before["hits"] + before["misses"])
        assert followed["sampled_gets"] > 1000 and abs(predicted(followed)[1] - rate) < 0.05, (rate, followed)


@test
def what_has_no_trace_is_said():
    with Cache("--size", "1m") as cache:
        run("mrc", cache, expect=FAILED)
        assert "--instruments" in run.said, run.said
    with Cache("--instruments", "400k") as cache:
        run("mrc", cache, expect=FAILED)
        assert "--for" in run.said, run.said
    run("mrc", "no-such-cache", expect=NOT_FOUND)


@test
def the_curve_is_drawn():
    if not shutil.which("gnuplot"):
        raise Skip("there is no gnuplot")
    with Cache("--size", "6m", "--instruments", "400k") as cache:
        work(cache, ("zipf", 20000, 100000, 1))
        for end in (".png", ".svg"):
            picture = temporary().with_suffix(end)
            run("mrc", "--plot", picture, "--want", "50", cache)
            assert picture.stat().st_size > 4000, picture


def pairs(path, usual):
    words = lzma.decompress(path.read_bytes())
    if path.name.endswith(".idsize32.xz"):
        return words
    return b"".join(word + struct.pack("<I", usual) for word in (words[at:at + 4] for at in range(0, len(words), 4)))


CLIENTS = 4
ROUNDS = 1.5


def trace_test(name, share, scale, points=POINTS):
    """Four clients go through the trace from different places on; the ring is read once, when all is done."""
    def check():
        directory = os.environ.get("LARDER_TRACES")
        found = sorted(Path(directory).glob(f"{name}.*.xz")) if directory else []
        if not found:
            raise Skip("LARDER_TRACES names no directory with this trace")
        data = pairs(found[0], 2000)
        sizes = [bytes // scale for bytes in dict(struct.iter_unpack("<II", data)).values()]
        size = int((sum(sizes) + 60 * len(sizes)) * share * CLIENTS) // 4096 * 4096
        path, requests = temporary(data), int(len(data) // 8 * CLIENTS * ROUNDS)
        truth, curve, counted = {}, None, requests
        for present in (1, 0.5, 2, 4):
            with Cache(*options_of(size, present), "--entry-size", sum(sizes) // len(sizes)) as cache:
                work(cache, ("trace", path, scale, CLIENTS, 0, requests - counted))
                began = gets(cache)
                work(cache, ("trace", path, scale, CLIENTS, requests - counted, requests))
                truth[present] = rate_since(cache, began)
                if not curve:
                    curve = show("mrc", cache)
                    counted = min(curve["gets"], requests)
        del truth[1]
        assert_close(truth, [curve], points)
    check.__name__ = f"of_a_real_trace_{name}_at_{int(100 * share)}_percent"
    return test(check)


# cloudphysics_io_b has entries of 16 bytes to 2 KiB, most of them asked for once: what is remembered of evicted keys decides, and a cache at a
# tenth of it hits two points less than the simulation of all its keys does, while half and twice its size hit as simulated.
for share in (0.1, 0.2):
    for arguments in (("web07", 1), ("web12", 1), ("adaptsize_b", 4), ("cloudphysics_io_b", 32, 0.05), ("lirs_multi3", 1), ("lirs_sprite", 1),
                      ("mooncake_synthetic", 1)):
        trace_test(arguments[0], share, *arguments[1:])

main()
