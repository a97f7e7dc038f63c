#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clusters that come to be and change: discovery through a v2 store (ours and the stock one), members added, promoted,
updated and removed at runtime with the stock etcdctl, a member that catches up by a snapshot, one that lost its disk,
one that was removed, --force-new-cluster, and the errors of a wrong start."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from etcdlib import OURS, STOCK, STOCKCTL, Member, Tap, cluster, free_ports, need, pipeline, request


def ctl(m, *args, check=True):
    p = subprocess.run(["timeout", "8", STOCKCTL, "--endpoints", m.url, *args], env=dict(os.environ, ETCDCTL_API="3"),
                       capture_output=True, text=True)
    if check and p.returncode:
        raise SystemExit(f"etcdctl {args}: {p.stdout}{p.stderr}")
    return p.stdout + p.stderr


def wait_for(what, timeout=10):
    end = time.time() + timeout
    while time.time() < end:
        v = what()
        if v:
            return v
        time.sleep(0.1)
    return None


def put(m, key, value, timeout=8):
    return request(m.client, "PUT", f"/v2/keys/{key}", f"value={value}", timeout=timeout)[0]


def get(m, key):
    status, _, body = request(m.client, "GET", f"/v2/keys/{key}", timeout=5)
    return json.loads(body)["node"].get("value") if status == 200 else None


def runtime_changes(tap):
    with cluster(3, extra=["--snapshot-count", "200"]) as ms:
        c, p = free_ports(2)
        out = ctl(ms[0], "member", "add", "m3", f"--peer-urls=http://127.0.0.1:{p}")
        tap.ok("ETCD_INITIAL_CLUSTER_STATE" in out, "member add by the stock etcdctl", out)
        text = re.search(r'ETCD_INITIAL_CLUSTER="(.*)"', out).group(1)
        for i in range(6500):  # beyond what the log keeps, so that the newcomer needs a snapshot
            if i % 500 == 0:
                put(ms[0], f"bulk{i}", i)
        pipeline(ms[0].client, "load", 6000)
        new = Member(ms[0].folder, "m3", c, p, text, extra=["--snapshot-count", "200"])
        ms.append(new)
        new.start("existing")
        new.wait_ready()
        put(ms[0], "seen", "yes")
        tap.ok(wait_for(lambda: get(new, "seen") == "yes"), "a member that was added has everything", new.log_text()[-1500:])
        tap.ok("restored the state at index" in new.log_text(), "it caught up by a snapshot", new.log_text()[-1500:])
        members = json.loads(ctl(ms[0], "member", "list", "-w", "json"))["members"]
        tap.ok(len(members) == 4 and all(m.get("name") for m in members), "four started members", members)
        hashes = wait_for(lambda: len({h for h in re.findall(r", (\d+)", ctl_all(ms, "endpoint", "hashkv"))}) == 1)
        tap.ok(hashes, "all members have the same hash")
        # a learner
        c, p = free_ports(2)
        out = ctl(ms[0], "member", "add", "m4", "--learner", f"--peer-urls=http://127.0.0.1:{p}")
        learner = Member(ms[0].folder, "m4", c, p, re.search(r'ETCD_INITIAL_CLUSTER="(.*)"', out).group(1))
        ms.append(learner)
        learner.start("existing")
        time.sleep(1.5)
        lid = next(f"{m['ID']:x}" for m in json.loads(ctl(ms[0], "member", "list", "-w", "json"))["members"] if m.get("isLearner"))
        out = ctl(learner, "get", "x", check=False)
        tap.ok("rpc not supported for learner" in out, "a learner serves no linearizable read", out)
        followers = [m for m in ms[:3] if b"StateLeader" not in request(m.client, "GET", "/v2/stats/self")[2]]
        promoted = wait_for(lambda: "promoted" in ctl(followers[0], "member", "promote", lid, check=False))
        tap.ok(promoted, "a learner is promoted, asked of a follower")
        tap.ok(wait_for(lambda: put(learner, "l", "1") in (200, 201)), "and then takes writes")
        # new peer URLs, removal
        mid = next(f"{m['ID']:x}" for m in json.loads(ctl(ms[0], "member", "list", "-w", "json"))["members"] if m["name"] == "m3")
        ctl(ms[0], "member", "remove", mid)
        tap.ok(wait_for(lambda: new.process.poll() is not None), "a removed member ends")
        tap.ok("permanently removed" in new.log_text(), "and says why", new.log_text()[-800:])
        new.start("existing")
        new.process.wait(10)
        tap.ok("permanently removed" in new.log_text().splitlines()[-1], "it does not start again", new.log_text()[-800:])
        status, _, body = request(ms[0].client, "DELETE", f"/v2/members/{mid}")
        tap.ok(status == 410, "removing it again is 410 Gone", (status, body))
        tap.ok(put(ms[0], "after", "1") == 201, "the rest goes on")


def ctl_all(ms, *args):
    urls = ",".join(m.url for m in ms if m.process and m.process.poll() is None)
    return subprocess.run(["timeout", "8", STOCKCTL, "--endpoints", urls, *args], env=dict(os.environ, ETCDCTL_API="3"),
                          capture_output=True, text=True).stdout


def lost_disk_and_force_new(tap):
    with cluster(3) as ms:
        put(ms[0], "a", "1")
        ms[1].kill(signal.SIGKILL)
        shutil.rmtree(ms[1].dir)
        ms[1].start()
        ms[1].process.wait(15)
        tap.ok("has already been bootstrapped" in ms[1].log_text(), "a member that lost its disk is refused", ms[1].log_text()[-800:])
        ms[2].kill(signal.SIGKILL)
        ms[0].kill(signal.SIGKILL)
        ms[0].extra.append("--force-new-cluster")
        ms[0].start()
        ms[0].wait_ready()
        members = json.loads(request(ms[0].client, "GET", "/v2/members")[2])["members"]
        tap.ok(len(members) == 1 and get(ms[0], "a") == "1", "--force-new-cluster: alone, with its data", members)
        tap.ok(put(ms[0], "b", "1") == 201, "and takes writes")


def discovery(tap, program, what):
    with cluster(1, program) as (service,):
        base = f"/v2/keys/discovery/{what}"
        request(service.client, "PUT", base + "/_config/size", "value=3")
        ports = free_ports(8)
        flags = ["--discovery", f"http://127.0.0.1:{service.client}{base}", "--initial-cluster-token", "ignored"]
        ms = [Member(service.folder, f"d{i}", ports[i], ports[4 + i], None, extra=flags) for i in range(4)]
        try:
            for m in ms[:3]:
                m.start()
            for m in ms[:3]:
                m.wait_ready()
            tap.ok(put(ms[0], "x", "1") == 201 and wait_for(lambda: get(ms[2], "x") == "1"), f"discovery through {what}")
            ms[3].start()
            ms[3].process.wait(10)
            tap.ok("cluster is full" in ms[3].log_text(), "a fourth member finds the cluster full", ms[3].log_text()[-500:])
            ms[0].kill(signal.SIGTERM)
            ms[0].start()
            ms[0].wait_ready()
            tap.ok("discovery token ignored" in ms[0].log_text(), "a restart does not ask again")
        finally:
            for m in ms:
                m.kill(signal.SIGKILL)


BOOT_ERRORS = [  # flags, what the message must say
    (["--foo"], "unknown flag: --foo"), (["extra"], "'extra' is not a valid flag"), (["--proxy", "on"], "--proxy=on"),
    (["--name", "b", "--initial-cluster", "a=http://127.0.0.1:1"], 'couldn\'t find local name "b" in the initial cluster configuration'),
    (["--name", "b", "--initial-cluster", "a=http://127.0.0.1:1"], "b not listed in the initial cluster config"),
    (["--listen-client-urls", "http://foo.bar:1"], "expected IP in URL for binding (http://foo.bar:1)"),
    (["--listen-client-urls", "http://127.0.0.1:22379"], "--advertise-client-urls is required when --listen-client-urls is set explicitly"),
    (["--election-timeout", "100"], "--election-timeout[100ms] should be at least as 5 times as --heartbeat-interval[100ms]"),
    (["--election-timeout", "60000"], "is too long, and should be set less than 50000ms"),
    (["--heartbeat-interval", "0"], "--heartbeat-interval must be >0 (set to 0ms)"),
    (["--listen-peer-urls", "ftp://127.0.0.1:1"], "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:1"),
    (["--listen-peer-urls", "http://127.0.0.1:1/foo"], "URL must not contain a path: http://127.0.0.1:1/foo"),
    (["--listen-peer-urls", "http://127.0.0.1"], 'URL address does not have the form "host:port": http://127.0.0.1'),
    (["--discovery", "http://127.0.0.1:1/x", "--initial-cluster", "a=http://127.0.0.1:1"], "multiple discovery or bootstrap flags are set"),
    (["--name", "a", "--initial-cluster", "a=http://127.0.0.1:9,b=http://127.0.0.1:9", "--initial-advertise-peer-urls",
      "http://127.0.0.1:9"], "initial cluster a=http://127.0.0.1:9,b=http://127.0.0.1:9 has duplicate url"),
    (["--name", "a", "--initial-cluster", "a=http://127.0.0.1:8", "--initial-advertise-peer-urls", "http://127.0.0.1:9"],
     "--initial-cluster has a=http://127.0.0.1:8 but missing from --initial-advertise-peer-urls=http://127.0.0.1:9"),
    (["--snapshot-count", "x"], "snapshot-count"), (["--auto-compaction-mode", "foo"], 'unknown auto-compaction-mode "foo"'),
    (["--name", "a", "--initial-cluster", "a=http://127.0.0.1:9", "--initial-advertise-peer-urls", "http://127.0.0.1:9",
      "--initial-cluster-state", "existing"], "cannot fetch cluster info from peer urls"),
    (["--cert-file", "/nonexistent"], "KeyFile and CertFile must both be present"),
    (["--auth-token", "jwt"], "--auth-token=jwt"), (["--auto-tls"], "--auto-tls=true"),
]


def boot_errors(tap):
    folder = os.path.join("/tmp", f"coracle-etcd-boot-{os.getpid()}")
    os.makedirs(folder)
    env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
    try:
        for flags, text in BOOT_ERRORS:
            p = subprocess.run(["timeout", "8", OURS, *flags], cwd=folder, env=env, capture_output=True, text=True)
            tap.ok(p.returncode == 1 and text in p.stderr, f"refused: {' '.join(flags)[:90]}", p.stderr[-600:])
            shutil.rmtree(os.path.join(folder, "default.etcd"), ignore_errors=True)
            shutil.rmtree(os.path.join(folder, "a.etcd"), ignore_errors=True)
        os.makedirs(os.path.join(folder, "default.etcd/member/wal"))
        p = subprocess.run(["timeout", "8", OURS], cwd=folder, env=env, capture_output=True, text=True)
        tap.ok(p.returncode == 1 and "original etcd" in p.stderr, "data of the original etcd is not touched", p.stderr)
        p = subprocess.run(["timeout", "8", OURS, "--version"], env=dict(env, ETCD_SNAPSHOT_COUNT="x"), capture_output=True, text=True)
        tap.ok("ETCD_SNAPSHOT_COUNT" in p.stderr, "a bad environment variable is named", p.stderr)
        p = subprocess.run(["timeout", "8", OURS, "-help"], env=env, capture_output=True, text=True)
        tap.ok(p.returncode == 0 and "--listen-client-urls" in p.stdout, "-help with one dash")
    finally:
        shutil.rmtree(folder)


def main():
    need(OURS, STOCKCTL, STOCK)
    tap = Tap()
    boot_errors(tap)
    runtime_changes(tap)
    lost_disk_and_force_new(tap)
    discovery(tap, OURS, "ours")
    discovery(tap, STOCK, "stock")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
