# SPDX-License-Identifier: Apache-2.0
"""Nodes with real systemd (systemd-nspawn over a shared read-only tree) that run fleetd against Debian's stock etcd.
What the tests of fleet share: start, break and ask the nodes, and clean up whatever happens."""
import atexit
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

SOURCE = os.environ.get("TEST_SOURCE_DIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ.get("TEST_BUILD_DIR") or os.path.join(SOURCE, "build/debug")
TREES = [os.environ.get("FLEET_TEST_TREE", ""), "/var/lib/coracle-clusters/tree", "/var/lib/coracle/tree"]
PORT = 49153  # FLEET_TEST_ETCD chooses another etcd than the stock one
FLEETCTL = os.path.join(BUILD, "programs/fleetctl")
FLEETD = os.path.join(BUILD, "programs/fleetd")
count = failures = 0


def ok(name, good, detail=""):
    global count, failures
    count += 1
    failures += not good
    print(f"{'' if good else 'not '}ok {count} - {name}", flush=True)
    if not good and detail:
        print("# " + str(detail).replace("\n", "\n# "), flush=True)
    return good


def note(text):
    print("# " + str(text).replace("\n", "\n# "), flush=True)


def finish():
    print(f"1..{count}", flush=True)
    sys.exit(1 if failures else 0)


def skip(why):
    print(f"1..0 # SKIP {why}", flush=True)
    sys.exit(77)


def wait(seconds, what):
    """Until what() is true; returns the seconds it took, or None."""
    begun = time.monotonic()
    while True:
        try:
            if what():
                return time.monotonic() - begun
        except (OSError, http.client.HTTPException, ValueError):
            pass
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.05)


def run(*argv, check=True, timeout=60, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
                       **kw)
    if check and p.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {p.returncode}\n{p.stdout}")
    return p.stdout


def requirements():
    if os.geteuid() != 0:
        skip("needs root")
    for program in ("systemd-nspawn", "etcd", "ip", "nsenter"):
        if not shutil.which(program):
            skip(f"needs {program}")
    for tree in TREES:
        if tree and os.path.exists(tree + "/usr/lib/systemd/systemd"):
            return tree
    tree = TREES[1]
    try:
        run(f"{SOURCE}/tools/node-tree", tree, timeout=400)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
        skip(f"no tree for nodes: {e}")
    return tree


class Node:
    def __init__(self, cluster, number, conf, machine_id=None):
        self.cluster, self.number = cluster, number
        self.name = f"f{number}"
        self.ip = f"{cluster.subnet}.{10 + number}"
        self.dir = f"{cluster.dir}/{self.name}"
        self.netns = f"{cluster.tag}{self.name}"
        self.id = machine_id or uuid.uuid4().hex
        self.conf = conf
        self.process = None
        for d in ("upper/etc/fleet", "upper/etc/systemd/system/fleet.socket.d",
                  "upper/etc/systemd/system/multi-user.target.wants", "work", "root"):
            os.makedirs(f"{self.dir}/{d}")
        self.write("/etc/machine-id", self.id + "\n")
        self.write("/etc/hostname", self.name + "\n")
        self.write("/etc/systemd/system/fleet.socket.d/tcp.conf", f"[Socket]\nListenStream={PORT}\n")
        os.makedirs(f"{self.dir}/upper/etc/systemd/system/fleet.service.d")
        self.write("/etc/systemd/system/fleet.service.d/test.conf",
                   "[Service]\nEnvironment=ASAN_OPTIONS=detect_leaks=1:log_path=/var/log/asan\nWatchdogSec=0\n")
        for unit in ("systemd-networkd", "systemd-resolved", "systemd-timesyncd", "systemd-logind"):
            os.symlink("/dev/null", f"{self.dir}/upper/etc/systemd/system/{unit}.service")
        os.symlink("/usr/lib/systemd/system/fleet.service",
                   f"{self.dir}/upper/etc/systemd/system/multi-user.target.wants/fleet.service")
        self.write_conf()

    def write(self, path, text):
        with open(self.dir + "/upper" + path, "w", encoding="utf-8") as f:
            f.write(text)

    def write_conf(self):
        text = f"etcd_servers={self.cluster.etcd_url}\npublic_ip={self.ip}\n"
        text += "".join(f"{k}={v}\n" for k, v in self.conf.items())
        if self.process:
            self.sh(f"cat >/etc/fleet/fleet.conf <<'END'\n{text}END")
        else:
            self.write("/etc/fleet/fleet.conf", text)

    # ---- life ----
    def network(self):
        tag = f"{self.cluster.tag}{self.number}"
        run("ip", "netns", "add", self.netns)
        run("ip", "link", "add", tag, "type", "veth", "peer", "name", "host0", "netns", self.netns)
        run("ip", "link", "set", tag, "master", self.cluster.bridge, "up")
        for c in (f"addr add {self.ip}/24 dev host0", "link set host0 up", "link set lo up",
                  f"route add default via {self.cluster.gateway}"):
            run("ip", "-n", self.netns, *c.split())

    def start(self):
        if not os.path.exists(f"/run/netns/{self.netns}"):
            self.network()
        if not os.path.ismount(self.dir + "/root"):
            run("mount", "-t", "overlay", "-o", f"lowerdir={self.cluster.layer}:{self.cluster.tree},"
                f"upperdir={self.dir}/upper,workdir={self.dir}/work", "fleet-test", self.dir + "/root")
        log = open(self.dir + "/console", "ab")
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self.dir}/root", f"--machine={self.netns}",
             f"--network-namespace-path=/run/netns/{self.netns}", "--register=no", "--keep-unit", "--resolv-conf=off",
             "--timezone=off", "--link-journal=no", "--console=pipe", "--kill-signal=SIGRTMIN+3",
             "/usr/lib/coracle/node-init"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self.enter_cgroups, start_new_session=True)

    def enter_cgroups(self):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        for d in self.cluster.cgroups:
            path = f"{d}/{self.netns}"
            os.makedirs(path, exist_ok=True)
            if d.endswith("/cpuset"):
                for f in ("cpuset.cpus", "cpuset.mems"):
                    with open(f"{d}/{f}", encoding="ascii") as a, open(f"{path}/{f}", "w", encoding="ascii") as b:
                        b.write(a.read())
            with open(path + "/cgroup.procs", "w", encoding="ascii") as f:
                f.write("0")

    def leader(self):
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
                return int(f.read().split()[-1])
        except (OSError, IndexError):
            return 0

    def kill(self):
        """A power cut."""
        leader = self.leader()
        if leader:
            os.kill(leader, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process = None

    def link(self, state):
        run("ip", "link", "set", f"{self.cluster.tag}{self.number}", state)

    def poweroff(self):
        os.kill(self.leader(), signal.SIGRTMIN + 4)
        self.process.wait(60)
        self.process = None

    def sh(self, command, check=True, timeout=60, **kw):
        return run("nsenter", "-t", str(self.leader()), "-m", "-u", "-i", "-n", "-p", "--", "/bin/sh", "-c", command,
                   check=check, timeout=timeout, **kw).strip()

    def ready(self):
        return self.api("GET", "machines")[0] == 200

    # ---- questions ----
    def api(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection(self.ip, PORT, timeout=20)
        h = {"Content-Type": "application/json"} if body is not None else {}
        h.update(headers or {})
        try:
            c.request(method, "/fleet/v1/" + path, body=json.dumps(body) if body is not None else None, headers=h)
            r = c.getresponse()
            data = r.read()
            return r.status, json.loads(data) if data else None
        finally:
            c.close()

    def put(self, name, text=None, state=None):
        body = {"name": name}
        if text is not None:
            body["options"] = options(text)
        if state:
            body["desiredState"] = state
        return self.api("PUT", "units/" + urllib.parse.quote(name), body)[0]

    def unit(self, name):
        return self.api("GET", "units/" + urllib.parse.quote(name))[1]

    def units(self):
        return {u["name"]: u for u in self.pages("units", "units")}

    def states(self):
        return {(s["name"], s["machineID"]): s for s in self.pages("state", "states")}

    def machines(self):
        return {m["id"]: m for m in self.pages("machines", "machines")}

    def pages(self, path, key):
        found, token = [], ""
        while True:
            page = self.api("GET", path + (f"?nextPageToken={token}" if token else ""))[1] or {}
            found += page.get(key, [])
            token = page.get("nextPageToken")
            if not token:
                return found

    def ctl(self, *args, check=True, timeout=60, **kw):
        return run(FLEETCTL, "--endpoint", f"http://{self.ip}:{PORT}", *args, check=check, timeout=timeout, **kw)

    def main_pid(self, unit):
        return self.sh(f"systemctl show -p MainPID --value {unit}", check=False)

    def journal(self, n=60, unit="fleet"):
        return self.sh(f"journalctl -u {unit} -n {n} --no-pager -o short-precise", check=False)


def options(text):
    section, out = None, []
    for line in text.strip().split("\n"):
        line = line.strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            k, v = line.split("=", 1)
            out.append({"section": section, "name": k, "value": v})
    return out


def sleeper(extra="", seconds=100000):
    return f"[Service]\nExecStart=/bin/sleep {seconds}\n" + (f"[X-Fleet]\n{extra}\n" if extra else "")


class Cluster:
    def __init__(self, nodes, conf=None, program=None):
        self.tree = requirements()
        self.dir = tempfile.mkdtemp(prefix="fleet-test-", dir="/var/tmp")
        self.tag = f"ft{os.getpid() % 10000}"
        self.bridge = self.tag + "b"
        self.subnet = f"10.97.{os.getpid() % 200 + 20}"
        self.gateway = self.subnet + ".1"
        self.etcd = None
        self.nodes = []
        self.program = program or FLEETD
        self.cgroups = [f"/sys/fs/cgroup/{c}" for c in sorted(os.listdir("/sys/fs/cgroup"))
                        if os.path.exists(f"/sys/fs/cgroup/{c}/cgroup.procs")
                        and os.path.isdir(f"/sys/fs/cgroup/{c}")] if not os.path.exists(
                            "/sys/fs/cgroup/cgroup.controllers") else ["/sys/fs/cgroup"]
        atexit.register(self.close)
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, lambda *_: sys.exit(1))
        self.make_layer()
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self.gateway}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        self.etcd_url = f"http://{self.gateway}:{self.free_port()}"
        self.start_etcd()
        for i in range(1, nodes + 1):
            self.add_node(dict(conf or {}, metadata=f"node=f{i}"))

    def free_port(self):
        with socket.socket() as s:
            s.bind((self.gateway, 0))
            return s.getsockname()[1]

    def make_layer(self):
        self.layer = self.dir + "/layer"
        for d in ("usr/bin", "usr/lib/systemd/system", "usr/lib/coracle", "usr/lib/x86_64-linux-gnu"):
            os.makedirs(f"{self.layer}/{d}")
        for p in (self.program, FLEETCTL):
            shutil.copy(p, f"{self.layer}/usr/bin/{os.path.basename(p)}")
            for line in run("ldd", p).split("\n"):
                lib = line.split("=>")[1].split()[0] if "=> /" in line else ""
                if lib and not os.path.exists(f"{self.tree}/usr/lib/x86_64-linux-gnu/{os.path.basename(lib)}"):
                    shutil.copy(lib, f"{self.layer}/usr/lib/x86_64-linux-gnu/")
        for u in ("fleet.service", "fleet.socket"):
            shutil.copy(f"{SOURCE}/os/units/{u}", f"{self.layer}/usr/lib/systemd/system/")
        shutil.copy(f"{SOURCE}/os/rootfs/usr/lib/coracle/node-init", f"{self.layer}/usr/lib/coracle/")
        os.chmod(f"{self.layer}/usr/lib/coracle/node-init", 0o755)

    def start_etcd(self):
        peer = f"http://{self.gateway}:{self.free_port()}"
        log = open(self.dir + "/etcd.log", "ab")
        if not hasattr(self, "peer"):
            self.peer = peer
        self.etcd = subprocess.Popen(
            [os.environ.get("FLEET_TEST_ETCD", "etcd"), "--data-dir", self.dir + "/etcd", "--listen-client-urls", self.etcd_url, "--advertise-client-urls",
             self.etcd_url, "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
             "--initial-cluster", f"default={self.peer}"], stdout=log, stderr=log,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))

    def compact(self):
        env = dict(os.environ, ETCDCTL_API="3")
        out = run("etcdctl", "--endpoints", self.etcd_url, "get", "x", "-w", "json", env=env)
        run("etcdctl", "--endpoints", self.etcd_url, "compact", str(json.loads(out)["header"]["revision"]), env=env)

    def stop_etcd(self):
        self.etcd.kill()
        self.etcd.wait()
        self.etcd = None

    def add_node(self, conf, machine_id=None):
        node = Node(self, len(self.nodes) + 1, conf, machine_id)
        self.nodes.append(node)
        return node

    def start(self, seconds=40):
        for n in self.nodes:
            n.start()
        good = all(wait(seconds, n.ready) is not None for n in self.nodes)
        good = good and wait(10, lambda: len(self.nodes[0].machines()) == len(self.nodes)) is not None
        if not good:
            for n in self.nodes:
                note(f"{n.name}:\n{n.journal() if n.leader() else open(n.dir + '/console', encoding='utf-8').read()}")
        return good

    def check_sanitizers(self):
        """What the sanitizers of any fleetd wrote, while the folders are still there."""
        found = ""
        for n in self.nodes:
            log = n.dir + "/upper/var/log"
            for f in os.listdir(log) if os.path.isdir(log) else []:
                if f.startswith("asan"):
                    with open(f"{log}/{f}", encoding="utf-8", errors="replace") as h:
                        found += h.read()
        return ok("no sanitizer has a complaint", not found, found[:4000])

    def close(self):
        for n in self.nodes:
            if n.process:
                n.kill()
            run("umount", "-l", n.dir + "/root", check=False)
            run("ip", "netns", "del", n.netns, check=False)
            for d in self.cgroups:
                for top, _, _ in os.walk(f"{d}/{n.netns}", topdown=False):
                    for _ in range(20):
                        try:
                            os.rmdir(top)
                            break
                        except OSError:
                            time.sleep(0.02)
        self.nodes = []
        if self.etcd:
            self.stop_etcd()
        run("ip", "link", "del", self.bridge, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
