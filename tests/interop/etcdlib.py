# SPDX-License-Identifier: Apache-2.0
"""What the etcd tests share: members of ours and of the stock etcd, raw HTTP, and comparison."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("TEST_BUILD_DIR", os.path.join(os.path.dirname(__file__), "../../build/debug"))
SOURCE = os.environ.get("TEST_SOURCE_DIR", os.path.join(os.path.dirname(__file__), "../.."))
OURS = os.path.join(BUILD, "programs/etcd")
STOCK = "/usr/bin/etcd"
STOCKCTL = "/usr/bin/etcdctl"


def need(*programs):
    for p in programs:
        if not os.path.exists(p):
            print(f"1..0 # SKIP {p} is missing")
            sys.exit(77)


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


class Member:
    def __init__(self, folder, name, client, peer, cluster, program=OURS, extra=()):
        self.name, self.client, self.peer, self.program = name, client, peer, program
        self.folder, self.cluster, self.extra = folder, cluster, list(extra)
        self.dir = os.path.join(folder, name)
        self.log = os.path.join(folder, name + ".log")
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.client}"

    def args(self, state="new"):
        a = ["--name", self.name, "--data-dir", self.dir,
             "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
             "--listen-peer-urls", f"http://127.0.0.1:{self.peer}",
             "--initial-advertise-peer-urls", f"http://127.0.0.1:{self.peer}",
             "--initial-cluster-state", state]
        if self.cluster:
            a += ["--initial-cluster", self.cluster]
        if self.program == STOCK:
            a += ["--enable-v2=true"]
        return a + self.extra

    def start(self, state="new"):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.program] + self.args(state), stdout=log, stderr=log, env=env)

    def kill(self, sig=signal.SIGKILL, wait=True):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            if wait:
                self.process.wait(30)

    def wait_ready(self, timeout=20):
        end = time.time() + timeout
        while time.time() < end:
            if self.process and self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended early:\n" + self.log_text()[-3000:])
            with contextlib.suppress(OSError):
                if request(self.client, "GET", "/health", timeout=2)[0] == 200:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{self.name} was not ready in {timeout} s:\n" + self.log_text()[-3000:])

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()


@contextlib.contextmanager
def cluster(n=1, program=OURS, extra=(), start=True):
    folder = tempfile.mkdtemp(prefix="coracle-etcd-")
    ports = free_ports(2 * n)
    text = ",".join(f"m{i}=http://127.0.0.1:{ports[n + i]}" for i in range(n))
    members = [Member(folder, f"m{i}", ports[i], ports[n + i], text, program, extra) for i in range(n)]
    try:
        if start:
            for m in members:
                m.start()
            for m in members:
                m.wait_ready()
        yield members
    finally:
        failed = sys.exc_info()[0] is not None
        for m in members:
            if m.process and m.process.poll() is None:
                m.process.send_signal(signal.SIGCONT)
                m.kill(signal.SIGKILL)
        for m in members:
            if os.path.exists(m.log):
                text = m.log_text()
                if "Sanitizer" in text or "runtime error" in text:
                    failed = True
                    print(f"# {m.name} has a sanitizer report")
                if failed:
                    print("".join(f"# {m.name}: {line}\n" for line in text.splitlines()[-60:]))
        shutil.rmtree(folder, ignore_errors=True)
        if failed and sys.exc_info()[0] is None:
            sys.exit(1)


def request(port, method, path, body=None, headers=None, timeout=10, events=None):
    """One HTTP/1.1 request on its own connection, byte for byte as given. Returns status, headers (list of pairs),
    body. `events`: stop reading a chunked answer after so many lines. A timeout gives status 0."""
    head = {"Host": f"127.0.0.1:{port}"}
    if body is not None:
        data = body.encode() if isinstance(body, str) else body
        head["Content-Length"] = str(len(data))
        if method in ("PUT", "POST"):
            head["Content-Type"] = "application/x-www-form-urlencoded"
    else:
        data = b""
        if method in ("PUT", "POST"):
            head["Content-Length"] = "0"
    head.update(headers or {})
    text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n"
    s = socket.create_connection(("127.0.0.1", port), timeout)
    try:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            s.sendall(text.encode("latin-1") + data)
        return read_answer(s, method, events)
    except TimeoutError:
        return 0, [], b""
    finally:
        s.close()


def pipeline(port, key, n):
    """n v2 writes of rising numbers over one connection."""
    s = socket.create_connection(("127.0.0.1", port), 20)
    f = s.makefile("rb")
    for start in range(0, n, 100):
        for i in range(start, min(start + 100, n)):
            body = f"value={i}"
            s.sendall((f"PUT /v2/keys/{key} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
        for _ in range(start, min(start + 100, n)):
            length = 0
            while (line := f.readline().strip()):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            f.read(length)
    s.close()


def read_answer(s, method, events):
    f = s.makefile("rb")
    line = f.readline()
    if not line:
        return -1, [], b""
    status = int(line.split()[1])
    headers = []
    while True:
        line = f.readline().rstrip(b"\r\n")
        if not line:
            break
        k, _, v = line.decode("latin-1").partition(":")
        headers.append((k.strip(), v.strip()))
    low = {k.lower(): v for k, v in headers}
    if method == "HEAD" or status in (204, 304):
        return status, headers, b""
    if low.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size = int(f.readline().split(b";")[0] or b"0", 16)
            body += f.read(size)
            f.readline()
            if size == 0 or (events and body.count(b"\n") >= events):
                return status, headers, body
    if "content-length" in low:
        return status, headers, f.read(int(low["content-length"]))
    return status, headers, f.read()


class Tap:
    def __init__(self):
        self.n = self.bad = 0

    def ok(self, good, name, detail=""):
        self.n += 1
        self.bad += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {name}", flush=True)
        if not good and detail:
            print("".join(f"#   {line}\n" for line in str(detail).splitlines()), end="", flush=True)

    def end(self):
        print(f"1..{self.n}")
        return 1 if self.bad else 0
