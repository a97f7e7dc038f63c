#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`fleetctl start` of a simple service on a three-node cluster of its own, and the daemons' idle memory. Stock fleet
cannot be installed from Debian; its figures (3.8 s median, fleetd 12-16 MB, etcd 27 MB on the same class of machine)
are printed for scale.

usage: fleet.py [--runs N] BIN-DIR
"""
import argparse
import os
import statistics
import subprocess
import tempfile
import time

args = argparse.ArgumentParser()
args.add_argument("--runs", type=int, default=12)
args.add_argument("bin")
opt = args.parse_args()
coracle = [f"{opt.bin}/coracle", "--name", "cbench", "--subnet", "10.98.78"]
fleetctl = [f"{opt.bin}/fleetctl", "--endpoint", "http://10.98.78.11:49153"]


def out(argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def memory(node, name):
    text = out(coracle + ["ssh", node, f"grep -h : /proc/$(pidof {name})/status /proc/$(pidof {name})/smaps_rollup"])
    kib = {k: int(v.split()[0]) for k, v in (l.split(":", 1) for l in text.strip().split("\n"))
           if k in ("VmRSS", "RssAnon", "Pss")}
    return kib["VmRSS"] / 1024, kib["Pss"] / 1024, kib["RssAnon"] / 1024


def main():
    subprocess.run(coracle + ["up"], check=True, stdout=subprocess.DEVNULL)
    try:
        time.sleep(5)
        print("\nidle memory of a node's daemons, MiB (resident; proportional share; private)")
        total = [0.0, 0.0, 0.0]
        for name, stock in (("etcd", "27"), ("fleetd", "12-16")):
            figures = memory("n1", name)
            total = [a + b for a, b in zip(total, figures)]
            print(f"  {name:8}" + "".join(f"{x:7.1f}" for x in figures) + f"   stock {stock} resident")
        print(f"  {'both':8}" + "".join(f"{x:7.1f}" for x in total))
        times = []
        with tempfile.TemporaryDirectory() as d:
            for i in range(opt.runs):
                unit = f"{d}/bench{i}.service"
                with open(unit, "w", encoding="ascii") as f:
                    f.write(f"[Service]\nExecStart=/bin/sleep {1000 + i}\n")
                t = time.perf_counter()
                subprocess.run(fleetctl + ["start", unit], check=True, stdout=subprocess.DEVNULL)
                times.append(time.perf_counter() - t)
                subprocess.run(fleetctl + ["destroy", os.path.basename(unit)], check=True, stdout=subprocess.DEVNULL)
        print(f"fleetctl start, {opt.runs} runs: min {min(times):.3f} s, median {statistics.median(times):.3f} s, "
              f"max {max(times):.3f} s (stock fleet: 3.8 s median)")
    finally:
        subprocess.run(coracle + ["down"], check=False, stdout=subprocess.DEVNULL)


main()
