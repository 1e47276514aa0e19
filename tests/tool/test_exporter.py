#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The exporter over real connections, what it serves checked by promtool, scraped by Prometheus; dashboard and alerts."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from kit import (FAILED, FOUND, LARDER, SOURCE, USAGE, WORKER, Cache, Redis, Skip, Worker, main, remote_names, run, served, show,
                 temporary, test)

GRAFANA = SOURCE / "tools" / "grafana"


class Exporter:
    def __init__(self, *caches, listen="127.0.0.1:0"):
        self.command = [LARDER, "exporter", "--listen", listen, *map(str, caches)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.port = int(re.search(r"http://\S+:(\d+)/metrics", self.process.stdout.readline()).group(1))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def ask(self, path, method="GET", host="127.0.0.1"):
        connection = http.client.HTTPConnection(host, self.port, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer, body

    def metrics(self):
        answer, body = self.ask("/metrics")
        assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/plain; version=0.0.4"), answer.headers
        return body

    def values(self):
        """{name{labels}: value}"""
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in self.metrics().splitlines() if line[0] != "#"}


def promtool(*arguments, text=None):
    if not shutil.which("promtool"):
        raise Skip("there is no promtool (package prometheus)")
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and (text is None or not done.stdout + done.stderr), (arguments, done.stdout, done.stderr)


def work(*command):
    subprocess.run([WORKER, *map(str, command)], check=True, timeout=60)


# ---- What is served -------------------------------------------------------------------------------------------------

@test
def promtool_finds_no_fault_in_what_is_served():
    with Cache() as one, Cache("--size", "4m") as two:
        work("fill", one, 1000)
        run("namespace", "-t", "1h", one, 'odd "name" \\ \u00e4')
        with Exporter(one, two) as exporter:
            promtool("check", "metrics", text=exporter.metrics())
        with Exporter(one) as exporter:
            promtool("check", "metrics", text=exporter.metrics())


@test
def numbers_are_those_of_stat_and_info_and_grow_between_scrapes():
    with Cache() as cache, Exporter(cache) as exporter:
        work("fill", cache, 1000)
        work("ask", cache, 1500)
        values, stat, info = exporter.values(), show("stat", cache), show("info", cache)
        label = f'{{cache="{cache}"}}'
        assert values["larder_up" + label] == 1
        for name in "hits", "misses", "sets", "inserts", "deletes", "expirations", "damage":
            assert values[f"larder_{name}_total{label}"] == stat[name], name
        for name in "entries", "entry_bytes", "segments_free", "participants_alive":
            assert values[f"larder_{name}{label}"] == stat[name], name
        assert values["larder_size_bytes" + label] == info["bytes"] == 8 << 20
        assert values["larder_participants_limit" + label] == info["participants"]
        assert abs(values["larder_created_timestamp_seconds" + label] - time.time()) < 60
        work("ask", cache, 100)
        assert exporter.values()[f"larder_hits_total{label}"] == stat["hits"] + 100


@test
def several_caches_share_one_block_of_each_metric():
    with Cache() as one, Cache() as two, Exporter(one, two) as exporter:
        work("fill", two, 10)
        text = exporter.metrics()
        helps = re.findall(r"^# HELP (\S+)", text, re.M)
        assert len(helps) == len(set(helps)), "a metric has two blocks"
        values = exporter.values()
        assert values[f'larder_sets_total{{cache="{one}"}}'] == 0 and values[f'larder_sets_total{{cache="{two}"}}'] == 10
        run("exporter", one, one, expect=USAGE)


@test
def a_tier_is_served_as_stat_has_it():
    with Cache("--size", "32m") as cache, Redis() as redis, Exporter(cache) as exporter:
        with Worker(["tier", cache, redis.url()]):
            promtool("check", "metrics", text=exporter.metrics())
        values = exporter.values()
        for metric in show("stat", "-f", "tier_*", cache)["metrics"]:
            name = served(metric["name"], remote_names()[metric["name"]])
            if not name.endswith("_seconds"):
                assert values[f'{name}{{cache="{cache}",far="{metric["far"]}"}}'] == metric["value"], metric
        assert values[f'larder_breaker_open{{cache="{cache}",server="{redis.path}"}}'] == 0


@test
def a_cache_that_is_not_there_is_said_at_the_start():
    with Cache() as cache, Exporter(cache, f"{cache}.none") as exporter:
        said = exporter.process.stderr.readline()
        assert f"{cache}.none: there is no cache of that name; larder_up is 0 until it is there" in said, said
        assert exporter.values()[f'larder_up{{cache="{cache}"}}'] == 1


# ---- Life -----------------------------------------------------------------------------------------------------------

@test
def it_outlives_the_cache_and_finds_the_next_one():
    with Cache() as cache, Exporter(cache) as exporter:
        up = f'larder_up{{cache="{cache}"}}'
        sets = f'larder_sets_total{{cache="{cache}"}}'
        work("fill", cache, 10)
        assert exporter.values()[sets] == 10 and exporter.ask("/healthz")[0].status == 200
        run("destroy", cache)
        values = exporter.values()
        assert values[up] == 0 and sets not in values, values
        answer, text = exporter.ask("/healthz")
        assert answer.status == 503 and str(cache) in text, text
        run("create", "--size", "8m", cache)
        work("fill", cache, 3)
        assert exporter.values()[sets] == 3 and exporter.ask("/healthz")[0].status == 200
        run("destroy", cache)
        run("create", "--size", "8m", cache) # between two scrapes
        assert exporter.values()[sets] == 0
        os.unlink(f"/dev/shm/larder.{cache}") # not as it should be removed
        assert exporter.values()[up] == 0
        run("create", "--size", "8m", cache)
        assert exporter.values()[up] == 1
        exporter.process.send_signal(signal.SIGTERM)
        _, said = exporter.process.communicate(timeout=10)
        assert exporter.process.returncode == FOUND and said.count("attached") >= 3, said


@test
def it_starts_before_there_is_a_cache():
    with Exporter(f"test-tool.{os.getpid()}.later") as exporter:
        assert [value for name, value in exporter.values().items() if name.startswith("larder_up")] == [0]
        promtool("check", "metrics", text=exporter.metrics())


@test
def it_attaches_read_only_and_disturbs_nobody():
    with Cache() as cache:
        work("fill", cache, 100)
        before = Path(f"/dev/shm/larder.{cache}").read_bytes()
        with Exporter(cache) as exporter:
            exporter.metrics()
            exporter.metrics()
            assert show("stat", cache)["participants_alive"] == 0
        assert Path(f"/dev/shm/larder.{cache}").read_bytes() == before


@test
def a_cache_cut_short_under_it_does_not_kill_it():
    with Cache() as cache, Exporter(cache) as exporter:
        assert exporter.values()[f'larder_up{{cache="{cache}"}}'] == 1
        os.truncate(f"/dev/shm/larder.{cache}", 4096)
        assert exporter.values()[f'larder_up{{cache="{cache}"}}'] == 0
        os.unlink(f"/dev/shm/larder.{cache}")


# ---- HTTP -----------------------------------------------------------------------------------------------------------

@test
def other_paths_and_methods_are_refused():
    with Cache() as cache, Exporter(cache) as exporter:
        assert exporter.ask("/nothing")[0].status == 404 and exporter.ask("/metrics/")[0].status == 404
        answer, _ = exporter.ask("/metrics", "POST")
        assert answer.status == 405 and answer.getheader("Allow") == "GET, HEAD"
        answer, body = exporter.ask("/metrics", "HEAD")
        assert answer.status == 200 and not body and int(answer.getheader("Content-Length")) > 1000
        assert exporter.ask("/")[0].status == 200


@test
def it_listens_on_this_host_alone_unless_told():
    with Cache() as cache, Exporter(cache) as exporter:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
                other = probe.getsockname()[0]
            except OSError as error:
                raise Skip("this host has no other address") from error
        try:
            exporter.ask("/metrics", host=other)
            raise AssertionError(f"it answers on {other}")
        except ConnectionRefusedError:
            pass


@test
def an_address_that_is_taken_or_none_is_an_error():
    with Cache() as cache, Exporter(cache) as exporter:
        run("exporter", "--listen", f"127.0.0.1:{exporter.port}", cache, expect=FAILED)
        assert str(exporter.port) in run.said and "in use" in run.said, run.said
        for wrong in "nonsense address", "127.0.0.1:x", "127.0.0.1:99999":
            run("exporter", "--listen", wrong, cache, expect=USAGE)
        run("exporter", expect=USAGE)


@test
def rude_clients_keep_nobody_out():
    with Cache() as cache, Exporter(cache) as exporter:
        idle = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(20)]
        for number, connection in enumerate(idle):
            connection.sendall([b"GET /metr", b"\0\xff\n\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"][number % 4])
        for _ in range(5):
            assert f'larder_up{{cache="{cache}"}} 1' in exporter.metrics()
        for connection in idle:
            connection.close()
        assert exporter.process.poll() is None and exporter.ask("/healthz")[0].status == 200


# ---- Prometheus and Grafana -----------------------------------------------------------------------------------------

@test
def the_alert_rules_are_right_and_fire_when_they_should():
    promtool("check", "rules", GRAFANA / "alerts.yml")
    promtool("test", "rules", SOURCE / "tests" / "tool" / "alerts_test.yml")


def expressions():
    dashboard = json.loads((GRAFANA / "larder.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


@test
def the_dashboard_asks_for_nothing_that_is_not_served():
    """Names in it and in the alerts are served, or are metrics that a manager makes (metrics.def); its queries parse."""
    with Cache() as cache, Exporter(cache) as exporter:
        there = set(re.findall(r"^# TYPE (\S+)", exporter.metrics(), re.M))
    there |= {served(name, counter) for name, counter in remote_names().items()}
    metrics = re.findall(r"^LARDER_METRIC\((\w+), (\w+)", (SOURCE / "include" / "larder" / "metrics.def").read_text(), re.M)
    there |= {f"{name}_seconds_bucket" if kind.startswith("DURATION") else f"{name}_total" for name, kind in metrics}
    alerts = (GRAFANA / "alerts.yml").read_text()
    asked = set(re.findall(r"\b(?:larder|cache)_\w+", " ".join(expressions()) + " ".join(re.findall(r"expr: (.*(?:\n {10}\S.*)*)", alerts))))
    assert len(asked) > 40 and asked <= there, asked - there
    rules = "groups:\n- name: dashboard\n  rules:\n"
    for number, expression in enumerate(expressions()):
        expression = re.sub(r"\$__rate_interval", "5m", expression)
        rules += f"  - record: panel:{number}\n    expr: {json.dumps(expression)}\n"
    path = temporary(rules.encode())
    promtool("check", "rules", path)


@test
def prometheus_scrapes_it_and_knows_the_rules():
    if not shutil.which("prometheus"):
        raise Skip("there is no prometheus")
    with Cache() as cache, Exporter(cache) as exporter, socket.socket() as probe:
        work("fill", cache, 7)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        config = temporary(f"""
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: [{GRAFANA / "alerts.yml"}]
scrape_configs: [{{job_name: larder, static_configs: [{{targets: ["127.0.0.1:{exporter.port}"]}}]}}]
""".encode())
        server = subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={temporary()}",
                                   f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"], stderr=subprocess.DEVNULL)
        try:
            result = wait_for(port, f'larder_sets_total{{cache="{cache}"}}')
            assert result[0]["value"][1] == "7", result
        finally:
            server.kill()
            server.wait()


def wait_for(port, query):
    for _ in range(100):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/api/v1/query?query=" + query.replace("{", "%7B").replace("}", "%7D").replace('"', "%22"))
            result = json.loads(connection.getresponse().read())["data"]["result"]
            if result:
                return result
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"Prometheus has nothing for {query} after 10 s")


main()
