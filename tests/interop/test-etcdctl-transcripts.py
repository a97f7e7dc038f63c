#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays recorded sessions of etcdctl 3.4.23 and 2.3.8 (tests/data/golden/etcdctl-*.txt) with our etcdctl, against
Debian's etcd and against ours: same output, same exit status. What cannot be the same (identifiers, ports, times,
sizes) is masked; what is left out is listed in SKIP with the reason."""
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("TEST_BUILD_DIR", "build/debug")
SOURCE = os.environ.get("TEST_SOURCE_DIR", ".")
CTL = os.path.join(BUILD, "programs/etcdctl")
SERVERS = [("etcd 3.4.23", "/usr/bin/etcd"), ("our etcd", os.path.join(BUILD, "programs/etcd"))]

# Verbs that are not built (they say so), and lines whose output is about the program itself.
SKIP = re.compile(r"etcdctl (--user|-u |user|role|auth|snapshot|check|make-mirror|move-leader|alarm|defrag|migrate|version|"
                  r"backup|-h|--help|bogus|endpoint hashkv|get --prefix  --count-only|--debug)")
# What one of the servers cannot answer the same way.
SKIP_OURS = re.compile(r"etcdctl endpoint status -w json")
TXN = [b'value("foo") = "z"\n\nput foo 1\nget foo\n\nput foo 2\n\n',
       b'value("foo") = "z"\n\nput foo 2\n\nput foo 3\nget foo\n\n',
       b'value("foo") = "3"\n\ndel foo\n\n\n']


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def read_session(path):
    """A list of (command, output lines, exit status)."""
    steps, current = [], None
    with open(path, encoding="utf-8") as f:
        for line in f.read().split("\n"):
            if line.startswith("$ "):
                if current:
                    steps.append((current[0], current[1], None))
                current = (line[2:], [])
            elif current and re.match(r"\[rc=\d+\]$", line):
                steps.append((current[0], current[1], int(line[4:-1])))
                current = None
            elif current:
                current[1].append(line)
    return steps


def mask(text, ports):
    for port, name in ports.items():
        text = text.replace("127.0.0.1:" + str(port), name)
    out = []
    for line in text.split("\n"):
        if line.startswith('{"level":') or line.startswith("connect ") or "Uses GLOBAL" in line:
            continue
        line = re.sub(r"took = .*", "took", line)
        line = re.sub(r"remaining\(\d+s\)", "remaining", line)
        line = re.sub(r"\b\d{17,20}\b", "NUMBER", line)
        line = re.sub(r"\b[0-9a-f]{15,16}\b", "ID", line)
        line = re.sub(r'"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex|raftTerm|raft_term|revision)":\d+', r'"\1":0', line)
        if re.match(r"CLIENT, ID|\| CLIENT", line):
            line = re.sub(r"\d+(\.\d+)* ?(kB|MB)?", "0", line)
        line = re.sub(r"error #0: (dial tcp )?.*", "error #0", line)
        line = re.sub(r" +\|", " |", re.sub(r"\| +", "| ", line)) if line.startswith("|") else line
        line = re.sub(r"-+", "-", line) if line.startswith("+--") else line
        out.append(line)
    return "\n".join(out).rstrip("\n")


class Server:
    def __init__(self, program, name):
        self.dir = tempfile.mkdtemp(prefix="etcdctl-test-")
        self.client, self.peer = free_port(), free_port()
        args = [program, "--name=" + name, "--data-dir=" + self.dir + "/d",
                f"--listen-client-urls=http://127.0.0.1:{self.client}",
                f"--advertise-client-urls=http://127.0.0.1:{self.client}",
                f"--listen-peer-urls=http://127.0.0.1:{self.peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{self.peer}",
                f"--initial-cluster={name}=http://127.0.0.1:{self.peer}"]
        if program == "/usr/bin/etcd":
            args.append("--enable-v2=true")
        with open(self.dir + "/log", "wb") as log:
            self.process = subprocess.Popen(args, stdout=log, stderr=log)
        for _ in range(100):
            if self.ctl("3", ["get", "ready"]).returncode == 0:
                break
            time.sleep(0.1)

    def ctl(self, api, args, stdin=b""):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")}
        env["ETCDCTL_API"] = api
        env["ETCDCTL_ENDPOINTS"] = f"127.0.0.1:{self.client}"
        if api == "2":
            env["ETCDCTL_ENDPOINTS"] = f"http://127.0.0.1:{self.client}"
        return subprocess.run([CTL, *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                              timeout=30, check=False)

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Replay:
    def __init__(self, api, path, server, ports, shift):
        self.api, self.server, self.shift = api, server, shift
        self.golden_ports = ports
        self.ports = {server.client: "CLIENT", server.peer: "PEER"}
        self.leases = {}
        self.txn = 0
        self.steps = read_session(os.path.join(SOURCE, "tests/data/golden", path))
        self.bad = []
        self.n = 0

    def step(self, command, want, rc):
        args = shlex.split(command)[1:]
        for recorded, real in self.leases.items():
            args = [a.replace(recorded, real) for a in args]
        stdin = b""
        if args == ["txn"]:
            stdin = TXN[self.txn]
            self.txn += 1
        if args[:2] == ["get", "/stdin"]:
            self.server.ctl(self.api, ["set", "/stdin"], b"hello\n")
        got = self.server.ctl(self.api, args, stdin)
        text = got.stdout.decode()
        wanted = "\n".join(want)
        granted = re.match(r"lease (\w+) granted", wanted), re.match(r"lease (\w+) granted", text)
        if args[:2] == ["lease", "grant"] and all(granted):
            self.leases[granted[0].group(1)] = granted[1].group(1)
        a, b = mask(wanted, self.golden_ports), mask(text, self.ports)
        if self.shift:
            a, b = (re.sub(r"(\[|Index: |\"(modified|created)Index\":)\d+", r"\1N", x) for x in (a, b))
            a, b = (re.sub(r"\[(\S+) != \d+\]", r"[\1 != N]", x) for x in (a, b))
            a, b = (re.sub(r"/\d{20}", "/ORDER", x) for x in (a, b))
            a, b = (re.sub(r"TTL: \d+", "TTL", x) for x in (a, b))
        if args[:1] == ["ls"] or (len(args) > 2 and args[2] == "ls"):
            a, b = "\n".join(sorted(a.split("\n"))), "\n".join(sorted(b.split("\n")))
        self.n += 1
        if a != b or (rc is not None and rc != got.returncode):
            self.bad.append(f"$ {command}\n  want rc={rc}: {a!r}\n  got  rc={got.returncode}: {b!r}")

    def run(self, skip):
        auth = False # nothing between "auth enable" and "auth disable" can be replayed
        for command, want, rc in self.steps:
            auth = auth or command == "etcdctl auth enable" and rc == 0
            if auth:
                auth = not command.endswith("auth disable")
                continue
            if not command.startswith("etcdctl ") or SKIP.match(command) or (skip and skip.match(command)):
                continue
            if " watch " in command:
                continue # waits for somebody else's write: see the watch tests of etcdclient
            self.step(command, want, rc)


def main():
    number, failed = 0, 0
    for title, program in SERVERS:
        if not os.access(program, os.X_OK):
            continue
        server = Server(program, "m0")
        try:
            for api, path, ports, shift in (("3", "etcdctl-3.4.23.txt", {25290: "CLIENT", 25291: "PEER"}, False),
                                            ("2", "etcdctl-2.3.8.txt", {25190: "CLIENT", 25191: "PEER"}, True)):
                replay = Replay(api, path, server, ports, shift)
                replay.run(SKIP_OURS if title.startswith("our") else None)
                number += 1
                good = not replay.bad and replay.n > 20
                failed += not good
                print(f"{'ok' if good else 'not ok'} {number} - {path} on {title}: {replay.n} commands")
                for line in replay.bad:
                    print("# " + line.replace("\n", "\n# "))
        finally:
            server.stop()
    print(f"1..{number}")
    if number == 0:
        return 77
    return 1 if failed else 0


sys.exit(main())
