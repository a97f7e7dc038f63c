#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A damaged log, a full disk, requests that are no requests, requests that are too large, TLS without the right
certificate: each a clear error, and the server lives on or says why it does not."""
import glob
import os
import random
import signal
import socket
import subprocess
import sys
import time

from etcdlib import OURS, STOCKCTL, Member, Tap, cluster, free_ports, need, request


def put(m, key, value="1"):
    return request(m.client, "PUT", f"/v2/keys/{key}", f"value={value}")[0]


def refill(m):
    m.start()
    m.wait_ready()
    for i in range(60):
        put(m, f"k{i}", "v" * 200)


def log_file(m):
    return sorted(glob.glob(os.path.join(m.dir, "member/wal-*.log")))[-1]


def used(path):
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def damaged_log(tap):
    with cluster(1, start=False) as (m,):
        refill(m)
        m.kill(signal.SIGKILL)
        end = used(log_file(m))
        # a torn tail: the last bytes never reached the disk, and nothing behind them
        with open(log_file(m), "r+b") as f:
            f.seek(end - 20)
            f.write(b"\0" * 20)
        m.start()
        started = True
        try:
            m.wait_ready(8)
        except SystemExit:
            started = False
        text = m.log_text()
        tap.ok(started or "log" in text.splitlines()[-1], "a torn tail is cut off, or refused with a message", text[-800:])
        m.kill(signal.SIGKILL)
        # a byte in the middle, which had been durable
        with open(log_file(m), "r+b") as f:
            f.seek(end // 2)
            b = f.read(1)
            f.seek(end // 2)
            f.write(bytes([b[0] ^ 0xff]))
        m.start()
        m.process.wait(15)
        last = m.log_text().splitlines()[-1]
        tap.ok(m.process.returncode == 1 and "cannot be used" in last, "damage inside the log is refused", last)
        with open(log_file(m), "r+b") as f:
            f.truncate(700)
        m.start()
        m.process.wait(15)
        last = m.log_text().splitlines()[-1]
        tap.ok(m.process.returncode == 1 and "cannot be used" in last, "a log cut short is refused", last)


def full_disk(tap):
    with cluster(1, start=False) as (m,):
        os.makedirs(m.dir)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", m.dir]).returncode:
            tap.ok(True, "full disk # SKIP no tmpfs can be mounted")
            return
        try:
            m.start()
            m.wait_ready()
            status, n = 201, 0
            while status in (200, 201) and n < 60 and m.process.poll() is None:
                try:
                    status = request(m.client, "PUT", f"/v2/keys/big{n}", "value=" + "x" * 1000000, timeout=10)[0]
                except OSError:
                    status = -1
                n += 1
            text = m.log_text()
            tap.ok(n < 60, f"a full disk stops writes after {n} MB", status)
            time.sleep(0.5)
            if m.process.poll() is not None:
                tap.ok("No space left" in text or "space" in m.log_text(), "the log says that the disk is full", m.log_text()[-800:])
            else:
                tap.ok(request(m.client, "GET", "/v2/keys/big0")[0] == 200, "reads go on")
        finally:
            m.kill(signal.SIGKILL)
            subprocess.run(["umount", "-l", m.dir])


MALFORMED = [b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
             b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
             b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
             b"GET /v2/keys/%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
             b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + b"\0\0\5\1\5\0\0\0\1" + b"\x82\x86\x84\xff\xff",
             b"\x16\x03\x01\x02\x00\x01\x00", b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n"]


def raw(port, data):
    try:
        s = socket.create_connection(("127.0.0.1", port), 2)
        s.settimeout(0.5)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
    except OSError:
        pass
    finally:
        s.close()


def rss(m):
    with open(f"/proc/{m.process.pid}/status", encoding="ascii") as f:
        return int(next(l for l in f if l.startswith("VmRSS")).split()[1])


def malformed(tap):
    rng = random.Random(7)
    with cluster(1) as (m,):
        before = rss(m)
        for port in (m.client, m.peer):
            for data in MALFORMED:
                raw(port, data)
            for _ in range(150):
                raw(port, bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400))))
        head = b"POST /raft/stream/app HTTP/1.1\r\nHost: x\r\nX-Coracle-Raft: 1\r\nX-Etcd-Cluster-ID: 1\r\nX-Raft-To: 1\r\n\r\n"
        raw(m.peer, head)
        grpc = {"Content-Type": "application/grpc"}
        for body in (b"", b"\0", b"\0\0\0\0\5abc", b"\1\0\0\0\0", b"\0\xff\xff\xff\xff", b"\0\0\0\0\3\xff\xff\xff"):
            request(m.client, "POST", "/etcdserverpb.KV/Range", body, grpc, timeout=2)
        tap.ok(request(m.client, "GET", "/health")[0] == 200, "the server outlives malformed input on both ports", m.log_text()[-1500:])
        for path, body, want in (("/v2/keys/a", "value=" + "x" * (11 << 20), 400), ("/v3/kv/put", '{"key":"' + "A" * (4 << 20) + '"}', 413)):
            method = "PUT" if "v2" in path else "POST"
            headers = {"Content-Type": "application/json"} if "v3" in path else None
            status = request(m.client, method, path, body, headers)[0]
            tap.ok(status in (want, -1), f"{len(body) >> 20} MB to {path}: {status}", status)
        deep = '{"success":[{"request_txn":' * 3000 + "{}" + "}]}" * 3000
        status = request(m.client, "POST", "/v3/kv/txn", deep, {"Content-Type": "application/json"})[0]
        tap.ok(status == 400, "a txn nested 3000 deep is refused", status)
        wide = "/".join(["x"] * 5000)
        status = request(m.client, "PUT", "/v2/keys/" + wide, "value=1")[0]
        tap.ok(status in (400, 414), "a path of 5000 parts is refused", status)
        tap.ok(rss(m) - before < 200 << 10, f"memory stays bounded ({before >> 10} -> {rss(m) >> 10} MiB, with sanitizers)")
        tap.ok(put(m, "alive") == 201, "and writes still work")


def certificates(folder):
    def run(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    with open(os.path.join(folder, "ext"), "w", encoding="ascii") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem",
            "-days", "2", "-extfile", "ext")


def tls(tap):
    with cluster(1, start=False) as (probe,):
        folder = probe.folder
        certificates(folder)
        ports = free_ports(6)
        text = ",".join(f"t{i}=https://127.0.0.1:{ports[3 + i]}" for i in range(3))
        ms = []
        for i in range(3):
            m = Member(folder, f"t{i}", ports[i], ports[3 + i], text)
            m.args = lambda state="new", m=m: [
                "--name", m.name, "--data-dir", m.dir, "--initial-cluster", text,
                "--listen-client-urls", f"https://127.0.0.1:{m.client}", "--advertise-client-urls", f"https://127.0.0.1:{m.client}",
                "--listen-peer-urls", f"https://127.0.0.1:{m.peer}", "--initial-advertise-peer-urls", f"https://127.0.0.1:{m.peer}",
                "--cert-file", f"{folder}/server.pem", "--key-file", f"{folder}/server.key", "--client-cert-auth",
                "--trusted-ca-file", f"{folder}/ca.pem", "--peer-cert-file", f"{folder}/server.pem", "--peer-key-file",
                f"{folder}/server.key", "--peer-client-cert-auth", "--peer-trusted-ca-file", f"{folder}/ca.pem"]
            ms.append(m)
        try:
            for m in ms:
                m.start()
            end = time.time() + 15
            urls = ",".join(f"https://127.0.0.1:{m.client}" for m in ms)
            ctl = ["timeout", "6", STOCKCTL, "--endpoints", urls, "--cacert", f"{folder}/ca.pem"]
            own = ["--cert", f"{folder}/client.pem", "--key", f"{folder}/client.key"]
            env = dict(os.environ, ETCDCTL_API="3")
            while time.time() < end:
                p = subprocess.run([*ctl, *own, "put", "a", "b"], env=env, capture_output=True, text=True)
                if p.returncode == 0:
                    break
            tap.ok(p.returncode == 0, "three members over TLS, stock etcdctl with a certificate", p.stderr[-600:] + ms[0].log_text()[-600:])
            p = subprocess.run([*ctl, "get", "a"], env=env, capture_output=True, text=True)
            tap.ok(p.returncode != 0, "without a client certificate there is no answer", p.stdout)
            p = subprocess.run(["curl", "-s", "-m", "5", "--cacert", f"{folder}/ca.pem", "--cert", f"{folder}/client.pem", "--key",
                                f"{folder}/client.key", f"https://127.0.0.1:{ms[1].client}/v2/keys/x", "-XPUT", "-d", "value=1"],
                               capture_output=True, text=True)
            tap.ok('"action":"set"' in p.stdout, "v2 over TLS", p.stdout + p.stderr)
        finally:
            for m in ms:
                m.kill(signal.SIGKILL)


def main():
    need(OURS, STOCKCTL)
    tap = Tap()
    damaged_log(tap)
    full_disk(tap)
    malformed(tap)
    tls(tap)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
