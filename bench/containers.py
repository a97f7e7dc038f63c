#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`docker run --rm` of a trivial container beside crun (and dockerd, where it starts), in turns.

usage: containers.py [--runs N] OUR-DOCKER
"""
import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

args = argparse.ArgumentParser()
args.add_argument("--runs", type=int, default=40)
args.add_argument("docker")
opt = args.parse_args()
# Not on an overlay: its upper layers would lie on another overlay.
work = tempfile.mkdtemp(prefix="coracle-bench-", dir="/var/tmp")


def layer_tar():
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode="w") as t:
        for d in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            info = tarfile.TarInfo(d)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            t.addfile(info)
        with open("/bin/busybox", "rb") as f:
            data = f.read()
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(data), 0o755
        t.addfile(info, io.BytesIO(data))
        for name in ("true", "sh", "sleep"):
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            t.addfile(info)
    return buf.getvalue()


def image_archive(layer):
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["bench:latest"], "Layers": ["layer.tar"]}]).encode()
    path = f"{work}/image.tar"
    with tarfile.open(path, "w") as t:
        for name, data in (("config.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return path


def crun_bundle(layer):
    bundle = f"{work}/bundle"
    os.makedirs(f"{bundle}/rootfs")
    with tarfile.open(fileobj=io.BytesIO(layer)) as t:
        t.extractall(f"{bundle}/rootfs")
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    with open(f"{bundle}/config.json", encoding="utf-8") as f:
        spec = json.load(f)
    spec["process"].update({"args": ["/bin/true"], "terminal": False})
    spec["process"].pop("rlimits", None)
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as f:
        json.dump(spec, f)
    return bundle


def timed(argv, env):
    t = time.perf_counter()
    p = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    t = (time.perf_counter() - t) * 1000
    if p.returncode != 0:
        raise SystemExit(f"{argv[0]}: exit {p.returncode}: {p.stdout.decode(errors='replace')}")
    return t


def main():
    layer = layer_tar()
    env = dict(os.environ, CORACLE_ROOT=f"{work}/root")
    subprocess.run([opt.docker, "load", "-q", "-i", image_archive(layer)], env=env, check=True)
    bundle = crun_bundle(layer)
    loads = {
        "coracle docker run --rm": lambda i: [opt.docker, "run", "--rm", "bench"],
        "coracle, --net none": lambda i: [opt.docker, "run", "--rm", "--net", "none", "bench"],
        "crun run (new netns, no network)": lambda i: ["crun", "--cgroup-manager=disabled", "run", "-b", bundle, f"b{i}"],
    }
    runs = {name: [] for name in loads}
    for i in range(opt.runs + 2):
        for name, argv in loads.items():
            t = timed(argv(f"{os.getpid()}-{i}"), env)
            if i >= 2:
                runs[name].append(t)
    print(f"\n{'start to end of a trivial container':36}{'min ms':>9}{'median':>9}{'max':>9}")
    for name, t in runs.items():
        print(f"{name:36}{min(t):9.1f}{statistics.median(t):9.1f}{max(t):9.1f}")
    crun = statistics.median(runs["crun run (new netns, no network)"])
    print(f"ratio to crun: {statistics.median(runs['coracle docker run --rm']) / crun:.2f}")


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
    sys.stdout.flush()
