#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""larder stat: metrics as text, JSON and Prometheus, filtered, of caches whose workers live, die and are gone; pictures."""
import json
import re
import shutil
import subprocess
import time

from kit import (FAILED, LARDER, NOT_FOUND, SOURCE, USAGE, WORKER, Cache, Redis, Skip, Worker, lines, main, remote_names, run, served,
                 show, temporary, test)

ROOMY = ("--instruments", "200k")


def metrics(cache, *options):
    return show("stat", *options, cache)["metrics"]


def one(found, **labels):
    fitting = [metric for metric in found if all(metric.get(name) == value for name, value in labels.items())]
    assert len(fitting) == 1, (labels, found)
    return fitting[0]


def record(cache):
    """What `worker record` does: three renders of a millisecond, one that failed, in a store and namespace of odd names."""
    subprocess.run([WORKER, "record", str(cache)], check=True)


def samples(text):
    """{name and labels: number} of an exposition."""
    return {key: float(value) for key, value in re.findall(r"^([^# ].*) (\S+)$", text, re.M)}


def promtool(text):
    if not shutil.which("promtool"):
        raise Skip("there is no promtool (package prometheus)")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr and not done.stdout, done.stdout + done.stderr


@test
def metrics_outlive_the_process_that_recorded_them():
    with Cache(*ROOMY) as cache:
        record(cache)
        found = metrics(cache)
        good = one(found, name="cache_operations", store="disk", operation="render", success="true")
        bad = one(found, name="cache_operations", store="disk", operation="render", success="false")
        assert good["value"] == 3 and bad["value"] == 1 and good["shard"] == "7", (good, bad)
        took = one(found, name="cache_duration", store="disk", operation="render")
        assert took["value"] == 3 and abs(took["sum_seconds"] - 0.003) < 1e-9, took
        assert abs(took["quantiles_seconds"]["p50"] - 0.001) < 0.001 * 0.033, took
        text = run("stat", cache).decode()
        assert re.search(r"^ *3  cache_duration .* p50 \S+ (us|ms), .* store=disk .*operation=render shard=7$", text, re.M), text


@test
def globs_choose_names_stores_and_namespaces():
    with Cache(*ROOMY) as cache:
        run("set", "-N", "users", cache, "key", "x")
        record(cache)
        everything = show("stat", cache)
        assert "hits" in everything and everything["metrics"]
        only = show("stat", "-f", "segments_*", cache)
        assert "segments_free" in only and "hits" not in only and not only["metrics"], only
        only = show("stat", "--filter", "cache_op*", "--store", "d?sk", cache)
        assert {metric["name"] for metric in only["metrics"]} == {"cache_operations"} and "hits" not in only, only
        assert all(metric["store"] == "disk" for metric in only["metrics"]), only
        only = show("stat", "-N", "us*", cache)
        assert {metric["name"] for metric in only["metrics"]} == {"namespace_entries", "namespace_bytes"}, only
        assert one(only["metrics"], name="namespace_entries", namespace="users")["value"] == 1, only
        assert not show("stat", "--store", "none", cache)["metrics"]
        text = run("stat", "-f", "segments_*", cache).decode()
        assert len(text.splitlines()) >= 5 and all("segments_" in line for line in text.splitlines() if line), text


@test
def prometheus_takes_what_it_is_given():
    with Cache(*ROOMY) as cache:
        run("set", "-N", 'odd "name" \\ of\nlines', cache, "key", "x")
        run("set", "-N", "über", cache, "key", "x")
        record(cache)
        text = run("stat", "--prometheus", cache).decode()
        promtool(text)


@test
def prometheus_has_every_counter_gauge_and_metric_with_its_unit():
    with Cache(*ROOMY) as cache:
        record(cache)
        run("set", cache, "key", "x")
        text = run("stat", "--prometheus", cache).decode()
        found, stat = samples(text), show("stat", cache)
        counters = re.findall(r"^LARDER_COUNTER\((\w+),", (SOURCE / "include/larder/counters.def").read_text(), re.M)
        gauges = re.findall(r"^LARDER_GAUGE\((\w+),", (SOURCE / "include/larder/gauges.def").read_text(), re.M)
        assert len(counters) > 25 and len(gauges) > 10
        for name in counters:
            if name.startswith("evictions_"):
                key = f'larder_evictions_total{{cache="{cache}",reason="{name.removeprefix("evictions_")}"}}'
            else:
                key = f'larder_{name}_total{{cache="{cache}"}}'
            assert found[key] == stat[name], key
        for name in gauges:
            kin = re.fullmatch(r"(ttl_(?:bytes|entries))_(\w+)", name)
            key = f'larder_{kin[1]}{{cache="{cache}",class="{kin[2]}"}}' if kin else f'larder_{name}{{cache="{cache}"}}'
            assert key in found, name
        assert found[f'larder_namespace_entries{{cache="{cache}",namespace=""}}'] == 1
        labels = f'cache="{cache}",store="disk",namespace="pages",operation="render",shard="7"'
        assert found[f'cache_operations_total{{{labels},success="true"}}'] == 3, text
        assert found[f"cache_duration_seconds_count{{{labels}}}"] == 3
        assert abs(found[f"cache_duration_seconds_sum{{{labels}}}"] - 0.003) < 1e-9
        buckets = [value for key, value in found.items() if key.startswith(f"cache_duration_seconds_bucket{{{labels},le=")]
        assert len(buckets) == 64 and buckets == sorted(buckets) and buckets[-1] == 3 and buckets[0] == 0, buckets
        assert len(re.findall(r"^# TYPE (\S+)", text, re.M)) == len(set(re.findall(r"^# TYPE (\S+)", text, re.M)))


@test
def memory_is_told_by_time_to_live():
    with Cache(*ROOMY) as cache:
        for number, ttl in enumerate(["none", "5s", "1m", "20m", "5h", "7d"]):
            run("set", "-t", ttl, cache, f"key{number}", "x" * 100)
        stat = show("stat", cache)
        for name in "never", "10s", "2m", "30m", "6h", "longer":
            assert stat[f"ttl_entries_{name}"] == 1 and 100 < stat[f"ttl_bytes_{name}"] < 300, (name, stat)


@test
def a_tier_and_its_redis_are_told_of_without_asking_them():
    with Cache("--size", "32m") as cache, Redis() as redis:
        with Worker(["tier", cache, redis.url()]):
            time.sleep(0.3)
            text = run("stat", cache).decode()
            assert re.search(r"^tier before redis \S+: changes of others are heard \(pid \d+ listens\); 0 writes queued$", text, re.M), text
            assert re.search(r"^redis \S+: breaker closed", text, re.M) and "\n0 dirty entries" in text, text
            found = metrics(cache)
            assert {metric["name"] for metric in found} >= set(remote_names()), set(remote_names()) - {metric["name"] for metric in found}
            assert one(found, name="tier_live")["value"] == 1 and one(found, name="tier_invalidations")["value"] > 3, found
            assert one(found, name="redis_commands", server=str(redis.path))["value"] > 3
            exposition = run("stat", "--prometheus", cache).decode()
            promtool(exposition)
            for name, counter in remote_names().items():
                kind = "counter" if counter else "gauge"
                assert f"# TYPE {served(name, counter)} {kind}\n" in exposition, name
            redis.process.kill()
            text = awaited(cache, r"breaker open")
            assert re.search(r"changes of others have not been heard for \S+ \(pid \d+ tries to\): the remote store does not answer;", text), text
            assert re.search(r"^1 dirty entry:", text, re.M) and "last failure: " in text, text
            found = metrics(cache, "-f", "*_open") + metrics(cache, "-f", "tier_gaps") + metrics(cache, "-f", "dirty_*")
            assert [metric["value"] for metric in found] == [1, 1, 1], found
        text = run("stat", cache).decode() # all are gone, and what they left can be read
        assert re.search(r"changes of others have not been heard for \S+: the remote store does not answer; 0 writes queued", text), text
        assert one(metrics(cache), name="tier_held")["value"] == 0
        assert metrics(cache, "--store", "shm", "-f", "tier_*") == []


@test
def a_listener_that_is_gone_hears_nothing():
    with Cache("--size", "32m") as cache, Redis() as redis:
        with Worker(["tier", cache, redis.url()]):
            assert one(metrics(cache), name="tier_live")["value"] == 1
        assert "whoever listened for changes of others is gone;" in run("stat", cache).decode()
        assert one(metrics(cache), name="tier_live")["value"] == 0


def awaited(cache, pattern):
    for _ in range(100):
        text = run("stat", cache).decode()
        if re.search(pattern, text):
            return text
        time.sleep(0.05)
    raise AssertionError(f"no {pattern} in: {text}")


@test
def rates_of_what_is_filtered_are_one_a_line():
    with Cache(*ROOMY) as cache, Worker(("work", cache)):
        out = lines("stat", "-f", "cache_*", "--store", "disk", cache, "200ms", "3")
        assert len(out) == 3
        rates = [one(line["metrics"], name="cache_operations", operation="render")["per_second"] for line in out]
        assert all(rate > 0 for rate in rates), rates
        text = run("stat", "-f", "cache_operations", cache, "100ms", "1").decode()
        assert re.search(r"^ +[1-9]\d*\.\d/s  cache_operations +store=disk", text, re.M), text
        text = run("stat", "--prometheus", cache, "100ms", "2").decode()
        assert text.count("# TYPE larder_hits_total") == 2


@test
def stat_works_while_workers_are_killed_and_when_all_are_gone():
    with Cache(*ROOMY) as cache:
        last = 0
        for _ in range(12):
            with Worker(*[("work", cache)] * 3):
                for _ in range(3):
                    total = one(metrics(cache), name="cache_operations", operation="render")["value"] if last else 0
                    assert total >= last
                    last = max(last, total, 1)
        stat = show("stat", cache)
        total = one(stat["metrics"], name="cache_operations", operation="render")["value"]
        assert stat["participants_alive"] == 0 and total > 1000, total
        time.sleep(0.2)
        assert one(metrics(cache), name="cache_operations", operation="render")["value"] == total


@test
def hot_keys_are_shown_hashed_and_in_clear():
    with Cache("--instruments", "400k") as cache:
        subprocess.run([WORKER, "ask", str(cache), "60000"], check=True)
        keys = show("stat", cache)["hot_keys"]
        assert keys and all("key" not in key and int(key["hash"]) > 0 for key in keys), keys
        assert re.search(r"^ +\d+  -\d+ #[0-9a-f]{16}$", run("stat", cache).decode(), re.M)
        run("monitor", "--hot-keys", "clear", cache)
        for _ in range(3):
            subprocess.run([WORKER, "repeat", str(cache), "20000"], check=True)
        first = show("stat", cache)["hot_keys"][0]
        # Halved, if a minute ended meanwhile.
        assert first["key"] == "key:repeated" and 15000 < first["accesses"] < 100000, first
        run("monitor", "--hot-keys", "off", cache)
        assert not show("stat", cache)["hot_keys"]


@test
def monitor_shows_and_sets_what_is_watched():
    with Cache(*ROOMY) as cache:
        run("monitor", "--timing", "1/1", cache)
        run("monitor", "--timing", "off", cache)
        run("monitor", "--timing", "64", cache)
        for wrong in ("0/1", "2/3", "x", "1/0", "1/99999999"):
            run("monitor", "--timing", wrong, cache, expect=USAGE)
        run("monitor", "--hot-keys", "naked", cache, expect=USAGE)
        run("monitor", "--hot-keys", "clear", "no-such-cache", expect=NOT_FOUND)
    with Cache("--size", "1m") as cache:
        run("monitor", "--hot-keys", "clear", cache, expect=FAILED)
        assert "instruments" in run.said, run.said


def drawn(path):
    head = path.read_bytes()[:400]
    return head.startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in head


@test
def a_recorded_history_is_drawn():
    if not shutil.which("gnuplot"):
        raise Skip("there is no gnuplot")
    with Cache(*ROOMY) as cache, Worker(("work", cache)):
        history = temporary(run("stat", "--json", cache, "50ms", "6"))
    for end in (".png", ".svg"):
        picture = history.with_suffix(end)
        run("stat", "--plot", picture, history)
        assert drawn(picture) and picture.stat().st_size > 5000, picture
    with Cache() as cache: # where nothing happens
        idle = temporary(run("stat", "--json", cache, "20ms", "3"))
    run("stat", "--plot", idle.with_suffix(".svg"), idle)
    assert drawn(idle.with_suffix(".svg")) and not run.said, run.said
    cut = temporary(history.read_bytes()[:-30]) # the recording was interrupted
    run("stat", "--plot", cut.with_suffix(".svg"), cut)
    run("stat", "--plot", cut.with_suffix(".svg"), "-", data=history.read_bytes())


@test
def what_cannot_be_drawn_is_said():
    good = json.dumps({"time_ms": 1, "per_second": {"hits": 1}}).encode() + b"\n"
    for data in (b"", good, good + b"nonsense\n", good + b"{}\n" + good, good + b"[]\n"):
        run("stat", "--plot", temporary().with_suffix(".svg"), temporary(data), expect=FAILED)
    history = temporary(good + good)
    run("stat", "--plot", temporary().with_suffix(".jpg"), history, expect=USAGE)
    assert ".png or .svg" in run.said, run.said
    run("stat", "--plot", temporary() / "none" / "x.svg", history, expect=FAILED)
    run("stat", "--plot", temporary().with_suffix(".svg"), temporary() / "none", expect=FAILED)
    done = subprocess.run([LARDER, "stat", "--plot", temporary().with_suffix(".svg"), history], env={"PATH": "/nonexistent"},
                          capture_output=True, text=True, check=False)
    assert done.returncode == FAILED and "gnuplot" in done.stderr, done.stderr


main()
