#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The doctor on hosts made of a few files, each with one thing wrong, and on caches with real troubles."""
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from kit import ADVICE, FAULT, FOUND, LARDER, NOT_FOUND, USAGE, WORKER, Cache, Redis, Skip, Worker, main, run, temporary, test

MOUNTS = """22 1 0:20 / /proc rw,nosuid - proc proc rw
23 1 0:21 / /sys rw - sysfs sysfs rw
30 1 0:25 / /dev/shm rw,nosuid,nodev - tmpfs tmpfs rw,size=8g,huge=advise
"""
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max file size             unlimited            unlimited            bytes
Max open files            1024                 524288               files
Max locked memory         unlimited            unlimited            bytes
"""
HEALTHY = {
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/self/mountinfo": MOUNTS,
    "proc/self/limits": LIMITS,
    "proc/self/status": "Name:\tlarder\nCapEff:\t0000000000000000\n",
    "proc/self/cgroup": "0::/user.slice/one.scope\n",
    "proc/meminfo": f"MemTotal:  {1 << 40} kB\nMemFree: 1 kB\nMemAvailable:  {1 << 39} kB\nSwapTotal:   0 kB\n",
    "sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size advise [never] deny force\n",
    "run/systemd/system/.keep": "",
    "etc/systemd/logind.conf": "[Login]\n#RemoveIPC=yes\n",
    "etc/systemd/logind.conf.d/larder.conf": "[Login]\nRemoveIPC=no\n",
    "dev/shm/.keep": "",
}


def host(files=()):
    """Root of a host that is healthy but for these files: path -> text, None: no such file."""
    root = temporary()
    for path, text in {**HEALTHY, **dict(files)}.items():
        if text is None:
            continue
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def examine(root=None, *more, expect):
    """{subject: finding} of the doctor; each finding above fine has to say why."""
    options = ["--root", root] if root else []
    answer = json.loads(run("doctor", "--json", *options, *more, expect=expect))
    for finding in answer["findings"]:
        assert finding["what"] and (finding["grade"] == "fine" or finding["why"]), finding
        assert finding["grade"] in ("fine", "note") or finding["change"], finding
    assert answer["worst"] in [finding["grade"] for finding in answer["findings"]]
    return {finding["subject"]: finding for finding in answer["findings"]}


def sick(path, text, subject, grade, *words):
    """A host that differs in one file: the finding about it, and no other that is as bad."""
    expect = {"FAULT": FAULT, "advice": ADVICE}.get(grade, FOUND)
    said = examine(host(files={path: text}), expect=expect)
    finding = said[subject]
    assert finding["grade"] == grade, finding
    for word in words:
        assert word in " ".join(finding.values()), (word, finding)
    if expect:
        assert [other["subject"] for other in said.values() if other["grade"] == grade] == [subject], said


# ---- The host -------------------------------------------------------------------------------------------------------

@test
def a_healthy_host_has_nothing_to_change():
    said = examine(host(), expect=FOUND)
    assert {finding["grade"] for finding in said.values()} == {"fine"}, said
    text = run("doctor", "--root", host()).decode()
    assert text.count("fine ") == len(said) and text.endswith(f"{len(said)} things as they should be\n"), text
    assert run("doctor", "-q", "--root", host()) == b""


@test
def an_old_kernel_is_a_fault():
    sick("proc/sys/kernel/osrelease", "3.10.0-1160.el7\n", "kernel", "FAULT", "3.10.0", "4.14")


@test
def a_shm_that_is_missing_read_only_or_no_tmpfs_is_a_fault():
    without = "".join(line + "\n" for line in MOUNTS.splitlines() if "shm" not in line)
    sick("proc/self/mountinfo", without, "/dev/shm mount", "FAULT", "mount -t tmpfs")
    sick("proc/self/mountinfo", without + "30 1 0:25 / /dev/shm rw - ext4 /dev/sda1 rw\n", "/dev/shm mount", "FAULT", "ext4")
    sick("proc/self/mountinfo", MOUNTS.replace("/dev/shm rw", "/dev/shm ro"), "/dev/shm mount", "FAULT", "read-only")


@test
def proc_hidden_read_only_or_missing_is_said():
    sick("proc/self/mountinfo", MOUNTS.replace("proc proc rw", "proc proc rw,hidepid=2"), "/proc", "note", "hidepid=2")
    sick("proc/self/mountinfo", MOUNTS.replace("/proc rw", "/proc ro"), "/proc", "note", "on the host")
    sick("proc/self/mountinfo", MOUNTS[MOUNTS.index("23"):], "/proc", "advice", "mount -t proc")


@test
def a_container_is_known_by_its_mark():
    for mark, kind in (".dockerenv", "Docker"), ("run/.containerenv", "Podman"):
        sick(mark, "", "container", "note", kind, "--ipc")


@test
def limits_of_the_process_are_read():
    sick("proc/self/limits", LIMITS.replace("1024  ", "128   "), "open files", "advice", "128", "LimitNOFILE")
    sick("proc/self/limits", LIMITS.replace("size             unlimited", "size             1048576  "), "file size", "advice",
         "1 MiB", "ulimit -f")
    locked = LIMITS.replace("memory         unlimited", "memory         65536    ")
    sick("proc/self/limits", locked, "locked memory", "note", "64 KiB", "LimitMEMLOCK")
    capable = examine(host(files={"proc/self/limits": locked, "proc/self/status": "CapEff:\t0000000000004000\n"}), expect=FOUND)
    assert capable["locked memory"]["grade"] == "fine", capable


@test
def remove_ipc_of_logind_is_read_from_all_its_files():
    grade = "FAULT" if os.geteuid() >= 1000 else "note"
    drop_in = "etc/systemd/logind.conf.d/larder.conf"
    sick(drop_in, None, "RemoveIPC", grade, "RemoveIPC=no", "logind") # systemd's default
    sick(drop_in, "[Login]\nRemoveIPC=yes\n", "RemoveIPC", grade, "RemoveIPC=no")
    said = examine(host(files={drop_in: None, "usr/lib/systemd/logind.conf.d/debian.conf": "[Login]\nRemoveIPC=no\n"}), expect=FOUND)
    assert said["RemoveIPC"]["grade"] == "fine", said
    said = examine(host(files={drop_in: None, "run/systemd/system/.keep": None}), expect=FOUND)
    assert "does not run" in said["RemoveIPC"]["what"], said


@test
def the_least_memory_limit_above_the_process_counts():
    group = "sys/fs/cgroup/user.slice/memory.max"
    sick(group, "max\n", "memory limit", "fine")
    sick(group, "1048576\n", "memory limit", "advice", "1 MiB", "--memory")
    old = {"proc/self/cgroup": "3:memory:/docker/abc\n0::/\n", "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "2097152\n"}
    assert "2 MiB" in examine(host(files=old), expect=ADVICE)["memory limit"]["what"]
    old["sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes"] = "9223372036854771712\n" # how version 1 says none
    assert examine(host(files=old), expect=FOUND)["memory limit"]["grade"] == "fine"


@test
def scarce_memory_and_swap_are_said():
    plenty = HEALTHY["proc/meminfo"]
    sick("proc/meminfo", plenty.replace(str(1 << 39), str(1 << 35)), "memory", "advice", "available")
    sick("proc/meminfo", plenty.replace("SwapTotal:   0", "SwapTotal:   2097152"), "swap", "note", "2 GiB", "LARDER_LOCK")


@test
def huge_pages_depend_on_kernel_setting_and_mount():
    path = "sys/kernel/mm/transparent_hugepage/shmem_enabled"
    sick(path, "always within_size advise never [deny] force\n", "huge pages", "note", "shmem_enabled", "remount,huge=advise")
    sick(path, None, "huge pages", "note", "none for shared memory")
    sick("proc/self/mountinfo", MOUNTS.replace(",huge=advise", ""), "huge pages", "note", "remount,huge=advise")
    sick("proc/sys/kernel/osrelease", "5.10.0\n", "huge pages", "note", "before the cache is made")


@test
def a_small_shm_is_advice_with_the_way_to_enlarge_it():
    """On a real tmpfs of 64 MiB, in a mount namespace of its own."""
    root = host()
    script = f"mount -t tmpfs -o size=64m tmpfs {root}/dev/shm && exec {LARDER} doctor --json --root {root}"
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True, check=False)
    if not done.stdout:
        raise Skip(f"no mount namespace of our own: {done.stderr.strip()}")
    said = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == ADVICE and said["/dev/shm size"]["grade"] == "advice", said
    assert "64 MiB" in said["/dev/shm size"]["what"] and "remount,size=" in said["/dev/shm size"]["change"], said
    (root / ".dockerenv").write_text("")
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True, check=False)
    said = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert "--shm-size" in said["/dev/shm size"]["change"], said


@test
def this_host_is_examined_too():
    done = subprocess.run([LARDER, "doctor", "--json"], capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    subjects = {finding["subject"] for finding in answer["findings"]}
    assert done.returncode == {"fine": FOUND, "note": FOUND, "advice": ADVICE, "FAULT": FAULT}[answer["worst"]], answer
    assert {"kernel", "locks", "membarrier", "/dev/shm mount", "memory"} <= subjects, subjects


# ---- A cache --------------------------------------------------------------------------------------------------------

def troubles(cache, *more):
    """{subject: finding} of a cache on the healthy host."""
    done = subprocess.run([LARDER, "doctor", "--json", "-s", "100ms", "--root", host(), str(cache), *more],
                          capture_output=True, text=True, check=False, timeout=60)
    answer = json.loads(done.stdout)
    assert done.returncode == {"fine": FOUND, "note": FOUND, "advice": ADVICE, "FAULT": FAULT}[answer["worst"]], answer
    return {finding["subject"]: finding for finding in answer["findings"]}


def work(*command):
    subprocess.run([WORKER, *map(str, command)], check=True, timeout=60)


@test
def a_fresh_cache_is_well():
    with Cache() as cache:
        before = Path(f"/dev/shm/larder.{cache}").read_bytes()
        said = troubles(cache)
        assert {finding["grade"] for finding in said.values()} == {"fine"}, said
        assert Path(f"/dev/shm/larder.{cache}").read_bytes() == before


@test
def no_such_cache_is_exit_code_1():
    run("doctor", f"test-tool.{os.getpid()}.none", expect=NOT_FOUND)
    run("doctor", "-s", "11m", expect=USAGE)
    run("doctor", "a", "b", expect=USAGE)


@test
def a_stopped_participant_is_named():
    with Cache() as cache, Worker(["hold", cache]) as worker:
        assert troubles(cache)["participants"]["grade"] == "fine"
        worker.stop()
        finding = troubles(cache)["participants"]
        assert finding["grade"] == "note" and str(worker.processes[0].pid) in finding["why"], finding
        worker.processes[0].send_signal(signal.SIGCONT)


@test
def slots_that_run_out_are_advice():
    with Cache("--participants", "4") as cache, Worker(*[["hold", cache]] * 4):
        finding = troubles(cache)["participant slots"]
        assert finding["grade"] == "advice" and "4 of 4" in finding["what"] and "--participants: 8" in finding["change"], finding


@test
def an_index_too_small_for_the_entries_is_advice():
    with Cache("--entry-size", "4k") as cache:
        work("fill", cache, 30000)
        finding = troubles(cache)["index"]
        assert finding["grade"] == "advice" and "--entry-size" in finding["change"], finding
    with Cache("--entry-size", "160") as cache:
        work("fill", cache, 30000)
        assert troubles(cache)["index"]["grade"] == "fine"


@test
def a_low_hit_rate_says_why():
    with Cache() as cache:
        work("ask", cache, 500)
        assert "too few" in troubles(cache)["hit rate"]["what"]
        work("ask", cache, 2000)
        finding = troubles(cache)["hit rate"]
        assert finding["grade"] == "advice" and "never set" in finding["why"], finding
        work("fill", cache, 2000)
        for _ in range(3):
            work("ask", cache, 2000)
        finding = troubles(cache)["hit rate"]
        assert finding["grade"] == "fine" and "70.6 %" in finding["what"], finding # 6000 of 8500
    with Cache("--size", "1m") as small:
        work("fill", small, 20000)
        work("ask", small, 20000)
        finding = troubles(small)["hit rate"]
        assert finding["grade"] == "advice" and "larder mrc" in finding["change"], finding


@test
def damage_is_a_fault():
    with Cache("--checksum") as cache:
        cache.set(b"key", b"value" * 20)
        path = Path(f"/dev/shm/larder.{cache}")
        data = bytearray(path.read_bytes())
        at = data.index(b"value" * 20)
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(b"VALUE")
        run("touch", "-t", "1h", cache, "key", expect=NOT_FOUND) # an inspector (larder get) counts nothing
        finding = troubles(cache)["damage"]
        assert finding["grade"] == "FAULT" and "larder check" in finding["change"], finding


@test
def a_cache_that_all_may_write_is_advice():
    with Cache("--mode", "666") as cache:
        finding = troubles(cache)["permissions"]
        assert finding["grade"] == "advice" and "chmod 660" in finding["change"], finding


@test
def namespaces_that_run_out_are_advice():
    with Cache("--namespaces", "16") as cache:
        for number in range(13):
            run("namespace", "-t", "1h", cache, f"space{number}")
        finding = troubles(cache)["namespaces"]
        assert finding["grade"] == "advice" and "--namespaces" in finding["change"], finding


@test
def a_namespace_that_fills_its_quota_is_noted():
    with Cache() as cache:
        run("namespace", "-q", "64k", cache, "pages")
        for number in range(100):
            run("set", "-N", "pages", cache, f"page:{number}", "v" * 1000)
        finding = troubles(cache)["quota"]
        assert finding["grade"] == "note" and "'pages'" in finding["what"], finding
        run("namespace", "-q", "none", cache, "pages")
        assert "quota" not in troubles(cache)


@test
def a_memory_limit_below_the_cache_is_a_fault():
    with Cache() as cache:
        root = host(files={"sys/fs/cgroup/user.slice/memory.max": str(4 << 20)})
        said = examine(root, "-s", "10ms", cache, expect=FAULT)
        assert said["memory limit"]["grade"] == "FAULT" and "8 MiB" in said["memory limit"]["why"], said


@test
def what_stands_behind_a_cache_is_looked_at():
    with Cache("--size", "32m") as cache, Redis() as redis:
        with Worker(["tier", cache, redis.url()]):
            said = examine(host(), "-s", "10ms", cache, expect=FOUND)
            assert [said[subject]["grade"] for subject in ("redis", "tier", "dirty entries")] == ["fine"] * 3, said
            redis.process.kill()
            time.sleep(1)
            said = examine(host(), "-s", "10ms", cache, expect=FAULT)
            assert said["redis"]["grade"] == "FAULT" and str(redis.path) in said["redis"]["what"] and "ping" in said["redis"]["change"], said
            assert said["tier"]["grade"] == "advice" and "not been heard" in said["tier"]["what"] and "does not answer" in said["tier"]["why"], said
            assert said["dirty entries"]["what"].startswith("1 entry is near") and "reconcile" in said["dirty entries"]["change"], said
        said = examine(host(), "-s", "10ms", cache, expect=FAULT)
        assert said["tier"]["grade"] == "note" and "nobody listens" in said["tier"]["what"], said


main()
