#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""etcd beside stock etcd, in turns on the same machine: puts and linearizable gets, v2 and v3, one and three
members, 1 / 64 / 256 clients. The load comes from h2load, the same bytes for both servers.

usage: etcd.py [--seconds N] [--rounds N] [--members 1,3] [--clients 1,64,256] OUR-ETCD [STOCK-ETCD]
"""
import argparse
import json
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

args = argparse.ArgumentParser()
args.add_argument("--seconds", type=int, default=3)
args.add_argument("--rounds", type=int, default=3)
args.add_argument("--members", default="1,3")
args.add_argument("--clients", default="1,64,256")
args.add_argument("ours")
args.add_argument("stock", nargs="?", default="/usr/bin/etcd")
opt = args.parse_args()


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def grpc(message):
    return b"\0" + struct.pack(">I", len(message)) + message


class Cluster:
    def __init__(self, name, program, members, stock):
        self.name, self.dir, self.procs = name, tempfile.mkdtemp(prefix="coracle-bench-", dir="/var/tmp"), []
        ports = free_ports(2 * members)
        self.client_ports = ports[:members]
        initial = ",".join(f"m{i}=http://127.0.0.1:{ports[members + i]}" for i in range(members))
        for i in range(members):
            client, peer = f"http://127.0.0.1:{ports[i]}", f"http://127.0.0.1:{ports[members + i]}"
            argv = [program, "--name", f"m{i}", "--data-dir", f"{self.dir}/m{i}", "--listen-client-urls", client,
                    "--advertise-client-urls", client, "--listen-peer-urls", peer,
                    "--initial-advertise-peer-urls", peer, "--initial-cluster", initial,
                    "--initial-cluster-state", "new"]
            if stock:
                argv += ["--enable-v2=true", "--log-level", "error"]
            log = open(f"{self.dir}/m{i}.log", "wb")
            self.procs.append(subprocess.Popen(argv, stdout=log, stderr=log))
        self.leader = self.wait_leader()

    def wait_leader(self):
        for _ in range(200):
            for port in self.client_ports:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/stats/self", timeout=1) as r:
                        if json.load(r)["state"] == "StateLeader":
                            return port
                except (OSError, ValueError, KeyError):
                    pass
            time.sleep(0.05)
        raise SystemExit(f"{self.name}: no leader; see {self.dir}")

    def rss_kib(self):
        total = 0
        for p in self.procs:
            with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
                total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
        return total // len(self.procs)

    def stop(self):
        for p in self.procs:
            p.terminate()
        for p in self.procs:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


VALUE = b"v" * 128
GRPC_HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
LOADS = {
    "v2 put": (["--h1", "-H", ":method: PUT", "-H", "content-type: application/x-www-form-urlencoded"],
               "/v2/keys/bench", b"value=" + VALUE),
    "v2 get": (["--h1"], "/v2/keys/bench?quorum=true", None),
    "v3 put": (GRPC_HEADERS, "/etcdserverpb.KV/Put", grpc(field(1, b"bench") + field(2, VALUE))),
    "v3 get": (GRPC_HEADERS, "/etcdserverpb.KV/Range", grpc(field(1, b"bench"))),
}


def measure(cluster, load, clients):
    options, path, body = LOADS[load]
    argv = ["h2load", "-t", "1", "-c", str(clients), "-m", "1", "-D", str(opt.seconds), "--warm-up-time", "1s", *options]
    if body is not None:
        data = f"{cluster.dir}/body"
        with open(data, "wb") as f:
            f.write(body)
        argv += ["-d", data]
    out = subprocess.run(argv + [f"http://127.0.0.1:{cluster.leader}{path}"], capture_output=True, text=True,
                         check=True).stdout
    rate = float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", out).group(1))
    bad = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", out).groups()
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out).groups()
    if any(int(x) for x in bad[:1] + codes[1:]):
        print(f"  ! {cluster.name} {load}: failed/errored/timeout {bad}, statuses {codes}", file=sys.stderr)
    latency = re.search(r"time for request:\s+\S+\s+\S+\s+(\S+)", out).group(1)
    return rate, latency


def main():
    results = []
    for members in map(int, opt.members.split(",")):
        pair = [Cluster("coracle", opt.ours, members, False), Cluster("etcd 3.4.23", opt.stock, members, True)]
        try:
            time.sleep(1)
            idle = [c.rss_kib() for c in pair]
            print(f"\n{members} member{'s' if members > 1 else ''}; idle memory a member: "
                  f"{idle[0] / 1024:.1f} MiB, stock {idle[1] / 1024:.1f} MiB")
            print(f"{'load':8}{'clients':>8}{'coracle/s':>12}{'stock/s':>12}{'ratio':>8}   mean latency ours, stock")
            for load in LOADS:
                for clients in map(int, opt.clients.split(",")):
                    runs = [[], []]
                    for _ in range(opt.rounds):
                        for i, c in enumerate(pair):
                            runs[i].append(measure(c, load, clients))
                    ours, stock = (statistics.median(r[0] for r in x) for x in runs)
                    ratio = statistics.median(a[0] / b[0] for a, b in zip(*runs) if b[0] > 0)
                    print(f"{load:8}{clients:8}{ours:12.0f}{stock:12.0f}{ratio:8.2f}   {runs[0][-1][1]}, {runs[1][-1][1]}",
                          flush=True)
                    results.append({"members": members, "load": load, "clients": clients, "ours": ours,
                                    "stock": stock, "ratio": ratio})
            full = [c.rss_kib() for c in pair]
            print(f"memory a member after it: {full[0] / 1024:.1f} MiB, stock {full[1] / 1024:.1f} MiB")
        finally:
            for c in pair:
                c.stop()
    os.makedirs("build", exist_ok=True)
    with open("build/bench-etcd.json", "w", encoding="ascii") as f:
        json.dump(results, f, indent=1)


main()
