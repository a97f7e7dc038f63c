#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The v3 API held against the stock 3.4.23: the requests of the recorded gateway session and more go to both servers
through the JSON gateway, watches with what triggers them, and the stock etcdctl (v3 over gRPC, and v2) runs the same
commands on both.

What may differ, and why:
  cluster_id, member_id, raft_term, ports   two separate clusters
  lease ids chosen by the server            random; lists of leases and of a lease's keys come unordered from stock
  dbSize, raftIndex, hash                   other storage, other log
  TTL by one                                two clocks
"""
import json
import os
import re
import subprocess
import sys
import threading
import time

from etcdlib import OURS, SOURCE, STOCK, STOCKCTL, Tap, cluster, need, request

GOLDEN = os.path.join(SOURCE, "tests/data/golden/etcd-3.4.23-v3-gateway.txt")
JSON = {"Content-Type": "application/json"}


def golden_requests():
    """The recorded requests up to the parts that are not built here (locks, elections, users)."""
    with open(GOLDEN, encoding="utf-8") as f:
        text = f.read().split("## lock/election")[0]
    return [(m.group(1), m.group(2)) for m in re.finditer(r"^>>> (/v3\S+) (\{.*\})$", text, re.M)]


def more_requests():
    kv = "/v3/kv/"
    yield from ((kv + "range", b) for b in (
        "", "{", "[]", '"x"', "{}", '{"key":"!"}', '{"key":5}', '{"key":"YQ","limit":"x"}', '{"key":"YQ==","sort_order":"UP"}',
        '{"key":"YQ==","unknown":1}', '{"key":"YQ==","rangeEnd":"Yg==","countOnly":true}', '{"key":"YQ==","revision":"99999"}',
        '{"key":"YQ==","limit":-1}', '{"key":"AA==","range_end":"AA==","limit":3}', '{"key":"azI=","range_end":"AA==","keys_only":true}'))
    yield from ((kv + "range", json.dumps({"key": "aw==", "range_end": "bA==", "sort_target": t, "sort_order": o, "limit": lim}))
                for t in ("KEY", "VERSION", "CREATE", "MOD", "VALUE") for o in ("NONE", "ASCEND", "DESCEND") for lim in (0, 2))
    yield from ((kv + "put", b) for b in (
        '{"key":"cHY=","value":"MQ==","prev_kv":true}', '{"key":"cHY=","value":"Mg==","prev_kv":true}',
        '{"key":"cHY=","ignore_value":true}', '{"key":"bm9uZQ==","ignore_value":true}', '{"key":"cHY=","value":"MQ==","ignore_value":true}',
        '{"key":"cHY=","value":"MQ==","lease":"5","ignore_lease":true}', '{"key":"cHY=","value":"MQ==","lease":"5555"}',
        '{"key":"cHY=","value":"MQ==","ignore_lease":true}', '{"key":"bm9uZQ==","value":"MQ==","ignore_lease":true}'))
    yield from ((kv + "deleterange", b) for b in (
        "{}", '{"key":"bm9uZQ=="}', '{"key":"cHY=","prev_kv":true}', '{"key":"cHY="}', '{"key":"eg==","range_end":"YQ=="}'))
    put = {"request_put": {"key": "dHg=", "value": "MQ=="}}
    dele = {"request_delete_range": {"key": "dHg="}}
    get = {"request_range": {"key": "dHg="}}
    for t in ([put, put], [put, dele], [dele, put], [dele, dele], [get, put, get], [dele, get], [{}], [{"request_put": {}}],
              [{"request_range": {}}], [{"request_range": {"key": "dHg=", "sort_target": 9}}],
              [{"request_txn": {"success": [put]}}, put], [{"request_txn": {"success": [get]}}, put],
              [{"request_range": {"key": "dHg=", "revision": "99999"}}]):
        yield kv + "txn", json.dumps({"success": t})
        yield kv + "txn", json.dumps({"failure": t, "compare": [{"key": "dHg=", "target": "VERSION", "version": "77"}]})
    for target, field, values in (("VERSION", "version", (0, 1, 2)), ("CREATE", "create_revision", (0, 5)), ("MOD", "mod_revision", (0, 5)),
                                  ("VALUE", "value", ("MQ==", "")), ("LEASE", "lease", (0, 7))):
        for result in ("EQUAL", "GREATER", "LESS", "NOT_EQUAL"):
            for v in values:
                for key in ("dHg=", "bm9uZQ=="):
                    yield kv + "txn", json.dumps({"compare": [{"key": key, "target": target, "result": result, field: v}]})
    yield kv + "txn", json.dumps({"compare": [{"key": "dHg=", "target": 9}]})
    yield kv + "txn", json.dumps({"compare": [{"key": "dHg=", "result": 9}]})
    yield kv + "txn", json.dumps({"success": [get] * 129})
    yield kv + "put", json.dumps({"key": "Ymln", "value": "QUFB" * 700000})
    yield from (("/v3/lease/" + p, b) for p, b in (
        ("grant", "{}"), ("grant", '{"TTL":-1,"ID":"9"}'), ("grant", '{"TTL":"x"}'), ("timetolive", "{}"), ("revoke", '{"ID":4242}'),
        ("keepalive", "{}"), ("leases", '{"x":1}')))
    yield from ((p, "{}") for p in ("/v3/nothing", "/v3/kv", "/v3alpha/kv/range", "/v3beta/kv/range", "/v3/watch/x"))


VOLATILE = {"cluster_id", "member_id", "raft_term", "dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex", "raftTerm", "leader", "hash"}


def mask(v, key=""):
    if isinstance(v, dict):
        return {k: mask(x, k) for k, x in v.items()}
    if isinstance(v, list):
        out = [mask(x, key) for x in v]
        return sorted(out, key=str) if key in ("leases", "keys") else out
    if key in VOLATILE:
        return "*"
    if key == "ID" and len(str(v)) > 12:
        return "id"
    if key == "TTL" and str(v) not in ("-1", "0"):
        return "ttl"
    return v


def shown(answer):
    status, headers, body = answer
    low = {k.lower(): v for k, v in headers}
    lines = []
    for line in body.decode().split("\n"):
        try:
            lines.append(json.dumps(mask(json.loads(line))))
        except ValueError:
            # what Go's JSON reader says of broken input is its own
            lines.append(line)
    text = "\n".join(lines)
    if status == 400 and '"code": 3' in text and "etcdserver:" not in text:
        text = "bad input, code 3"
    return status, low.get("content-type"), low.get("grpc-metadata-content-type"), text


def compare(tap, name, ours, stock, ports):
    a, b = shown(ours), shown(stock)
    b = b[:3] + (b[3].replace(f":{ports[1]}", f":{ports[0]}").replace(f":{ports[3]}", f":{ports[2]}"),)
    tap.ok(a == b, name[:150], f"ours  {a}\nstock {b}"[:2500])


# Recorded requests whose answers are ours on purpose.
DIFFERENT = {
    '{"key": "aw==", "sort_target": 9}': "stock 3.4.23 dies of it; ours answers with an error",
}


def gateway(tap, ours, stock, ports):
    for path, body in [*golden_requests(), *more_requests()]:
        if "sort_target\": 9" in body or body in DIFFERENT or "defragment" in path:
            continue
        if '"result": 9' in body or '"target": 9' in body:
            status = request(ours.client, "POST", path, body, JSON)[0]
            tap.ok(status == 400, "an enum out of range is refused: " + body)
            continue
        answers = [request(m.client, "POST", path, body, JSON, timeout=5) for m in (ours, stock)]
        compare(tap, f"{path} {body}", *answers, ports)
    for method in ("GET", "PUT", "DELETE"):
        answers = [request(m.client, method, "/v3/kv/range") for m in (ours, stock)]
        compare(tap, f"{method} /v3/kv/range", *answers, ports)
    status = request(ours.client, "POST", "/v3/kv/range", '{"key":"YQ==","range_end":"Yg==","sort_target":9}', JSON)[0]
    tap.ok(status == 400 and request(ours.client, "GET", "/health")[0] == 200,
           "a sort target out of range is refused (the stock server dies of it)")


def b64(s):
    import base64
    return base64.b64encode(s.encode()).decode()


WATCHES = [  # (create request, what is put or deleted meanwhile, lines to read)
    ({"key": b64("w")}, [("put", "w", "1"), ("put", "w", "2"), ("del", "w", "")], 4),
    ({"key": b64("w"), "range_end": b64("x"), "prev_kv": True}, [("put", "w", "1"), ("put", "w1", "2"), ("del", "w", "")], 4),
    ({"key": b64("w"), "start_revision": 2}, [], 2),
    ({"key": b64("wz"), "filters": ["NOPUT"]}, [("put", "wz", "1"), ("del", "wz", ""), ("put", "wz", "1")], 2),
    ({"key": b64("wz"), "filters": ["NODELETE"]}, [("del", "wz", ""), ("put", "wz", "1")], 2),
    ({"key": b64("w"), "start_revision": 99999}, [("put", "w", "1")], 1),
    ({}, [], 1),
    ({"key": b64("x"), "range_end": b64("a")}, [], 1),
    ({"key": b64("w"), "watch_id": 42}, [("put", "w", "9")], 2),
    ({"key": b64("w"), "range_end": "AA=="}, [("put", "zz", "9")], 2),
]


def watches(tap, ours, stock, ports):
    for create, changes, lines in WATCHES:
        results = {}

        def run(key, port, create=create, lines=lines):
            results[key] = request(port, "POST", "/v3/watch", json.dumps({"create_request": create}), JSON, 4, lines)
        threads = [threading.Thread(target=run, args=(k, m.client)) for k, m in (("o", ours), ("s", stock))]
        for t in threads:
            t.start()
        time.sleep(0.2)
        for op, key, value in changes:
            for m in (ours, stock):
                if op == "put":
                    request(m.client, "POST", "/v3/kv/put", json.dumps({"key": b64(key), "value": b64(value)}), JSON)
                else:
                    request(m.client, "POST", "/v3/kv/deleterange", json.dumps({"key": b64(key)}), JSON)
            time.sleep(0.05)  # so that each is an answer of its own on both
        for t in threads:
            t.join()
        compare(tap, f"watch {create} {changes}", results["o"], results["s"], ports)
    body = json.dumps({"progress_request": {}})
    compare(tap, "watch progress", *(request(m.client, "POST", "/v3/watch", body, JSON, 3, 1) for m in (ours, stock)), ports)


CTL3 = ["put a 1", "put a 2", "get a", "get a -w json", "get a -w fields", "get --prefix '' --keys-only", "put b 1", "put c 1", "get a d",
        "get --from-key b", "get a d --limit 2", "get a d --order DESCEND", "get a d --sort-by VALUE --order ASCEND", "get a --rev 2",
        "get a --rev 999", "get a -w protobuf", "del c", "del nope", "del --prefix a --prev-kv", "get --print-value-only b", "get a --hex",
        "put --prev-kv b 2", "put --ignore-value b", "put --ignore-value nope", "put --lease=1 x y", "lease grant 0x", "lease timetolive 1",
        "lease revoke 1", "lease keep-alive --once 1", "compaction 3", "compaction 3", "compaction 99", "get a --rev 2", "endpoint health",
        "alarm list", "alarm disarm", "member list", "member remove 1", "member update 1 --peer-urls=http://127.0.0.1:9",
        "member add x --peer-urls=bogus", "member promote 1", "move-leader 1", "auth disable", "defrag", "watch w --rev 1",
        "role list --nonsense", "get", "put k", "check"]
TXN = ('value("b") = "2"\n\nput t 1\nget b\ndel nope\n\nput t 2\n\n', 'version("nope") > "0"\n\nput t 1\n\nget t\n\n',
       'mod("t") < "3"\ncreate("b") > "1"\n\nget t\n\nget b\n\n')
CTL2 = ["set k 1", "get k", "set k 2 --ttl 100", "set k 3 --swap-with-value 2", "set k 4 --swap-with-value 2", "mk k 5", "mk new 5",
        "mkdir d", "mkdir d", "set d/x 1", "ls --sort", "ls -p --sort", "ls --recursive --sort", "ls d", "ls nope", "update k 9", "update nope 9", "rm k", "rm k",
        "rm d", "rmdir d", "rm d --recursive", "setdir sd", "updatedir sd --ttl 50", "-o extended get new", "-o json get new",
        "member list", "cluster-health", "get d/x", "mk --in-order q 1", "rm new --with-value 7", "rm new --with-value 5"]


def ctl(member, command, api, stdin=None):
    env = dict(os.environ, ETCDCTL_API=api)
    flag = "--endpoints" if api == "3" else "--endpoints"
    p = subprocess.run(f"timeout 6 {STOCKCTL} {flag} {member.url} {command}", shell=True, env=env, input=stdin, capture_output=True,
                       text=True, errors="replace", timeout=10)
    out = p.stdout + "\n" + re.sub(r'^\{"level".*\n', "", p.stderr, flags=re.M)
    out = re.sub(r"127\.0\.0\.1:\d+", "ADDR", out)
    out = re.sub(r"took = [\d.]+[mµ]?s", "took", out)
    out = re.sub(r'"(cluster_id|member_id|raft_term)":\d+', r'"\1":0', out)
    out = re.sub(r'("(?:ClusterID|MemberID|RaftTerm)" :) \d+', r"\1 0", out)
    out = re.sub(r"\b[0-9a-f]{15,16}\b", "ID", out)
    out = re.sub(r'"ts":"[^"]*"', "", out)
    out = re.sub(r"endpoint://client-[0-9a-f-]+", "endpoint", out)
    if "protobuf" in command:
        out = "binary" if p.stdout else ""
    return p.returncode, out


def stock_etcdctl(tap, ours, stock):
    for api, commands in (("3", CTL3), ("2", CTL2)):
        for command in commands:
            a, b = ctl(ours, command, api), ctl(stock, command, api)
            tap.ok(a == b, f"etcdctl v{api} {command}", f"ours  {a}\nstock {b}"[:2000])
    for text in TXN:
        a, b = ctl(ours, "txn", "3", text), ctl(stock, "txn", "3", text)
        tap.ok(a == b, f"etcdctl v3 txn {text!r}", f"ours  {a}\nstock {b}"[:2000])


def main():
    need(OURS, STOCK, STOCKCTL)
    tap = Tap()
    with cluster(1) as (ours,), cluster(1, STOCK) as (stock,):
        time.sleep(0.5)
        ports = (ours.client, stock.client, ours.peer, stock.peer)
        gateway(tap, ours, stock, ports)
        watches(tap, ours, stock, ports)
    with cluster(1) as (ours,), cluster(1, STOCK) as (stock,):
        time.sleep(0.5)
        stock_etcdctl(tap, ours, stock)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
