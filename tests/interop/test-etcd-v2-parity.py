#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sends the same v2 requests, one after the other, to our etcd and to the stock 3.4.23 (--enable-v2=true), and
compares status, headers and bodies.

What may differ, and why:
  Date, X-Raft-Index, X-Raft-Term   moments and log positions of two separate clusters
  X-Etcd-Cluster-Id, member ids     computed from the peer URLs, which have other ports
  expiration, ttl by one            clocks of two processes
  order of nodes when unsorted      the stock server's is random (maps); ours is always sorted
  /v2/stats/store, the numbers      stock counts its own bookkeeping, and failed compares as successes
  Transfer-Encoding                 Go sends answers above 2 KiB in chunks; ours say their length
"""
import json
import re
import sys
import threading
import time

from etcdlib import OURS, STOCK, Tap, cluster, need, pipeline, request

MASKED = {"transfer-encoding", "date", "x-raft-index", "x-raft-term", "x-etcd-cluster-id"}
V = "/v2/keys"


def mask_headers(headers):
    return sorted((k.lower(), v) for k, v in headers if k.lower() not in MASKED and k.lower() != "content-length")


def mask_json(v, sort):
    if isinstance(v, dict):
        out = {}
        for k, x in v.items():
            if k == "expiration":
                x = "T"
            elif k == "ttl":
                x = "t" if x else x
            elif k == "nodes" and sort:
                x = sorted(x, key=lambda n: n["key"])
            out[k] = mask_json(x, sort)
        return out
    if isinstance(v, list):
        return [mask_json(x, sort) for x in v]
    return v


def mask_body(body, ids, sort):
    text = body.decode("utf-8", "surrogateescape")
    for k, v in ids.items():
        text = text.replace(k, v)
    if text.startswith('{"getsSuccess"'):
        text = re.sub("[0-9]+", "N", text)
    lines = []
    for line in text.split("\n"):
        try:
            # dumps keeps the order of fields, so that order is compared too
            lines.append(json.dumps(mask_json(json.loads(line), sort)))
        except ValueError:
            lines.append(line)
    return "\n".join(lines)


def form(**kw):
    return "&".join(f"{k}={v}" for k, v in kw.items())


def requests():
    """(method, path, body, headers)"""
    def r(method, path, body=None, headers=None):
        out.append((method, path, body, headers))
    out = []
    # ---- basics
    for p in ("", "/", "?recursive=true", "/nope", "/nope/deeper"):
        r("GET", V + p)
    for v in ("bar", "bar2", "", "a b", "x%26y", "%C3%A9", "%00%01", "%ff%fe", "<&>", "%22%5C%0A%09", "%E2%80%A8"):
        r("PUT", V + "/foo", "value=" + v)
        r("GET", V + "/foo")
    r("HEAD", V + "/foo")
    r("HEAD", V + "/missing")
    r("PUT", V + "/foo?value=q")
    r("PUT", V + "/foo?value=fromquery", "value=frombody")
    r("PUT", V + "/foo", "value=1&value=2")
    r("PUT", V + "/foo", '{"a":1}', {"Content-Type": "application/json"})
    r("PUT", V + "/foo", "value=x", {"Content-Type": "text/plain"})
    r("PUT", V + "/foo", "value=cs", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    r("PUT", V + "/foo", "value=up", {"Content-Type": "Application/X-WWW-Form-Urlencoded"})
    r("PUT", V + "/empty")
    r("PUT", V + "/empty", "")
    r("GET", V + "/empty")
    r("PUT", V + "/foo/sub", "value=x")
    r("GET", V + "/foo/sub")
    r("DELETE", V + "/foo/sub")
    r("POST", V + "/foo", "value=x")
    r("GET", V + "/foo/")
    r("PUT", V + "/foo/", "value=slash")
    r("PUT", V + "/a//b/../c", "value=x")
    for p in ("/a//b", "/a/../b", "/a/./b", "//", "/.."):
        r("GET", V + p)
    r("GET", V + "/a//b?recursive=true&sorted=true")
    for p in ("/%20sp%20", "/%C3%A9/x", "/a%2Fb", "/a%3Fb", "/a+b", "/a%25b", "/%2e%2e/z"):
        r("PUT", V + p, "value=1")
        r("GET", V + p)
    r("GET", V + "?sorted=true&recursive=true")
    for m in ("PATCH", "OPTIONS", "TRACE"):
        r(m, V + "/foo")
    for m in ("PUT", "DELETE"):
        for p in ("", "/", "/?recursive=true", "/?dir=true", "?prevExist=false", "?prevExist=true", "?prevIndex=3"):
            r(m, V + p, "value=x" if m == "PUT" else None)
    # ---- conditions
    r("PUT", V + "/c?prevExist=false", "value=1")
    r("PUT", V + "/c?prevExist=false", "value=2")
    r("PUT", V + "/c?prevExist=true", "value=3")
    r("PUT", V + "/cc?prevExist=true", "value=3")
    for q in ("prevValue=3", "prevValue=zz", "prevIndex=1", "prevIndex=0", "prevValue=zz&prevIndex=1",
              "prevValue=4&prevIndex=1", "prevValue=", "prevIndex=abc", "prevIndex=", "prevIndex=-1",
              "prevIndex=18446744073709551615", "prevIndex=18446744073709551616", "prevExist=maybe", "prevExist=",
              "prevExist=true&prevValue=zz", "prevExist=true&prevIndex=1", "prevExist=false&prevValue=4",
              "prevExist=T", "prevExist=0", "prevExist=TRUE"):
        r("PUT", V + "/c?" + q, "value=4")
    r("PUT", V + "/none?prevValue=x", "value=4")
    r("PUT", V + "/none?prevIndex=7", "value=4")
    r("GET", V + "/c")
    # ---- directories
    r("PUT", V + "/d?dir=true")
    r("PUT", V + "/d", "dir=true")
    r("PUT", V + "/d", "value=x")
    r("PUT", V + "/d/k", "value=1")
    r("PUT", V + "/d/k2/deep/er", "value=2")
    for q in ("", "?recursive=true", "?sorted=true", "?recursive=true&sorted=true", "?recursive=false", "?quorum=true",
              "?quorum=true&recursive=true&sorted=true"):
        r("GET", V + "/d" + q)
    r("PUT", V + "/d?dir=true&prevExist=false")
    r("PUT", V + "/d?prevExist=true&dir=true&ttl=100")
    r("PUT", V + "/d?prevExist=true", "value=v")
    r("PUT", V + "/d?prevExist=true&ttl=")
    r("PUT", V + "/d?prevIndex=1", "value=v")
    r("PUT", V + "/d?prevValue=1", "value=v")
    r("PUT", V + "/dv?dir=true", "value=ignored")
    r("GET", V + "/dv")
    for q in ("", "?dir=true", "?recursive=true&prevIndex=1", "?prevValue=1", "?recursive=true"):
        r("DELETE", V + "/d" + q)
    r("DELETE", V + "/dv?dir=true")
    r("DELETE", V + "/zz?recursive=true")
    for q in ("?dir=true", "?recursive=true", "?prevValue=1", "?prevValue=2", "?prevIndex=1", "?prevValue=2&prevIndex=1",
              "?prevValue=", "?prevIndex=x", "?dir=bogus", "?recursive=bogus", "?prevIndex=0"):
        r("PUT", V + "/file", "value=1")
        r("DELETE", V + "/file" + q)
    r("DELETE", V + "/file")
    r("DELETE", V + "/file")
    r("DELETE", V + "/gone?prevValue=1")
    r("DELETE", V + "/gone?prevIndex=1")
    # ---- ttl
    r("PUT", V + "/t", "value=x&ttl=100")
    r("GET", V + "/t")
    for t in ("-1", "abc", "", "1.5", "+5", " 5", "0x10", "18446744073709551616", "99999999", "50"):
        r("PUT", V + "/t", "value=x&ttl=" + t)
    for b in ("refresh=true&ttl=60", "refresh=true", "refresh=true&ttl=5&value=z", "refresh=true&ttl=5&value=",
              "refresh=false&ttl=60", "refresh=bogus", "refresh=", "refresh=true&ttl=x"):
        r("PUT", V + "/t", b)
    r("PUT", V + "/t?prevExist=true", "refresh=true&ttl=70")
    r("PUT", V + "/t?prevValue=x", "refresh=true&ttl=70")
    r("PUT", V + "/nokey", "refresh=true&ttl=5000")
    r("PUT", V + "/nokey?prevExist=true", "refresh=true&ttl=5000")
    r("PUT", V + "/nokey?prevExist=false", "refresh=true&ttl=5000")
    r("GET", V + "/t")
    r("PUT", V + "/t?prevExist=true", "value=nottl")
    r("PUT", V + "/tdir?dir=true&ttl=100")
    r("PUT", V + "/tdir/a", "value=1&ttl=200")
    r("GET", V + "/tdir?recursive=true")
    r("PUT", V + "/tdir?dir=true&prevExist=true&refresh=true&ttl=300")
    # ---- in order
    for b, q in (("value=j1", ""), ("value=j2", ""), ("", "?dir=true"), ("value=j3&ttl=60", ""), ("value=z", "?prevExist=true"),
                 ("value=z", "?prevValue=a"), ("ttl=x", ""), ("value=z", "?recursive=true")):
        r("POST", V + "/q" + q, b)
    r("GET", V + "/q?recursive=true&sorted=true")
    r("POST", V, "value=rootpost")
    r("POST", V + "/foo/x", "value=1")
    # ---- hidden
    for p in ("/_h", "/hd/_h", "/hd/_hd/x", "/hd/v", "/_hid/_deep/x"):
        r("PUT", V + p, "value=1")
    for p in ("/hd?recursive=true", "/hd/_hd", "/_h", "/_hid?recursive=true", "/?sorted=true", "/?sorted=true&recursive=true"):
        r("GET", V + p)
    r("DELETE", V + "/hd?recursive=true")
    # ---- bad fields
    for f in ("recursive", "sorted", "wait", "dir", "quorum", "stream", "refresh", "noValueOnSuccess"):
        r("GET", V + f"/x?{f}=bogus")
        r("GET", V + f"/x?{f}=")
        r("PUT", V + f"/bad?{f}=bogus", "value=1")
    for q in ("waitIndex=abc", "waitIndex=", "waitIndex=-1", "bogus=1", "dir=%ZZ", "a=%", "a=%4", "recursive=1&sorted=T",
              "prevIndex=x&recursive=y", "recursive=y&prevIndex=x", "sorted=x&recursive=y", "a;b=1", "recursive=true;sorted=true"):
        r("GET", V + "/x?" + q)
    for m in ("PUT", "POST", "DELETE", "HEAD"):
        r(m, V + "/x?wait=true", "value=1" if m in ("PUT", "POST") else None)
    for b in ("value=%ZZ", "value=%", "value", "=1", "&&&", "value=a;b", "value=a%3Bb", "v" * 5000):
        r("PUT", V + "/form", b)
    for q in ("noValueOnSuccess=true", "noValueOnSuccess=true&prevExist=true", "noValueOnSuccess=false"):
        r("PUT", V + "/nv?" + q, "value=1")
    r("DELETE", V + "/nv?noValueOnSuccess=true")
    r("PUT", V + "/big", "value=" + "b" * 2000000)
    r("PUT", V + "/toobig", "value=" + "b" * 11000000)
    r("DELETE", V + "/big")
    r("PUT", V + "/" + "k" * 3000, "value=1")
    r("PUT", V + "/deep" + "/x" * 200, "value=1")
    r("DELETE", V + "/deep?recursive=true")
    # ---- misc endpoints
    for p in ("/version", "/health", "/v2/machines", "/v2/members", "/v2/members/", "/v2/members/leader", "/v2/members/abc",
              "/v2/members/leader/x", "/v2/stats/leader", "/v2/stats/foo", "/v2/stats", "/v2/stats/", "/v2", "/", "/v2/",
              "/v2/keys2", "/v2/auth/enable", "/v2/admin/config", "/nothing", "/version/", "/v2/machines/"):
        r("GET", p)
    r("HEAD", "/v2/machines")
    for p in ("/version", "/health", "/v2/machines", "/v2/stats/self", "/v2/stats/leader", "/v2/stats/store"):
        r("POST", p, "x=1")
        r("PUT", p)
        r("DELETE", p)
    j = {"Content-Type": "application/json"}
    r("POST", "/v2/members", "{}", j)
    r("POST", "/v2/members", "x")
    r("POST", "/v2/members", '{"peerURLs":["bogus"]}', j)
    r("POST", "/v2/members", '{"peerURLs":["http://a"]}', j)
    r("POST", "/v2/members", '{"peerURLs":["http://127.0.0.1:1/x"]}', j)
    r("POST", "/v2/members", '{"peerURLs":[]}', j)
    for p in ("", "/", "/zzz", "/123", "/0", "/123456789012345678901"):
        r("DELETE", "/v2/members" + p)
    r("PUT", "/v2/members/123", '{"peerURLs":["http://127.0.0.1:1"]}', j)
    r("PUT", "/v2/members", '{"peerURLs":["http://127.0.0.1:1"]}', j)
    r("PATCH", "/v2/members")
    r("GET", V + "/foo", None, {"Origin": "http://example.com"})
    r("OPTIONS", V + "/foo", None, {"Origin": "http://example.com", "Access-Control-Request-Method": "PUT"})
    r("OPTIONS", "/anything")
    r("GET", "/v2/stats/store")  # its numbers are masked
    return out


WATCHES = [  # (watch path, trigger or None, events to read)
    ("/w?wait=true", ("PUT", "/w", "value=1"), 1),
    ("/w?wait=true", ("PUT", "/w", "value=2"), 1),
    ("/w?wait=true", ("PUT", "/w?prevValue=2", "value=3"), 1),
    ("/w?wait=true", ("PUT", "/w?prevExist=true", "value=4&ttl=1000"), 1),
    ("/w?wait=true", ("DELETE", "/w?prevValue=4", None), 1),
    ("/w?wait=true", ("PUT", "/w?prevExist=false", "value=5"), 1),
    ("/w?wait=true", ("DELETE", "/w", None), 1),
    ("/wd?wait=true&recursive=true", ("PUT", "/wd/a/b", "value=1"), 1),
    ("/wd?wait=true", ("PUT", "/wd/a/b", "value=2"), 0),
    ("/wd/a/b?wait=true", ("DELETE", "/wd?recursive=true", None), 1),
    ("/?wait=true&recursive=true", ("PUT", "/_hid/x", "value=1"), 0),
    ("/_hid?wait=true&recursive=true", ("PUT", "/_hid/x", "value=2"), 1),
    ("/?wait=true&recursive=true", ("PUT", "/seen", "value=2"), 1),
    ("/wp?wait=true&recursive=true", ("POST", "/wp", "value=2"), 1),
    ("/wi?wait=true", ("PUT", "/wi", "value=1&ttl=1000"), 1),
    ("/wi?wait=true", ("PUT", "/wi", "refresh=true&ttl=500"), 0),
    ("/wexp?wait=true", ("PUT", "/wexp", "value=1&ttl=1"), 1),
    ("/wexp?wait=true", None, 1),
    ("/wdexp?wait=true&recursive=true", ("PUT", "/wdexp/x?dir=true", "ttl=1"), 1),
    ("/wdexp?wait=true&recursive=true", None, 1),
    ("/st?wait=true&recursive=true&stream=true", ("PUT", "/st/0", "value=0"), 1),
]


def compare(tap, name, a, b, ids, sort):
    got = (a[0], mask_headers(a[1]), mask_body(a[2], {}, sort))
    want = (b[0], mask_headers(b[1]), mask_body(b[2], ids, sort))
    tap.ok(got == want, name[:150], f"ours  {got}\nstock {want}"[:3000])


def watch_both(tap, ours, stock, ids):
    for path, trigger, events in WATCHES:
        results = {}

        def run(key, port, path=path, events=events):
            results[key] = request(port, "GET", V + path, timeout=4 if events else 0.6, events=events or None)
        threads = [threading.Thread(target=run, args=(k, m.client)) for k, m in (("o", ours), ("s", stock))]
        for t in threads:
            t.start()
        time.sleep(0.15)
        if trigger:
            for m in (ours, stock):
                request(m.client, trigger[0], V + trigger[1], trigger[2])
        for t in threads:
            t.join()
        compare(tap, f"watch {path} {trigger}", results["o"], results["s"], ids, False)


def history(tap, ours, stock, ids):
    """waitIndex over the window of 1000 events."""
    for m in (ours, stock):
        for i in range(5):
            request(m.client, "PUT", V + "/hist", f"value={i}")
    index = int(dict(request(ours.client, "GET", V)[1])["X-Etcd-Index"])
    for at in (index - 4, index - 1, index, 1, 3):
        for rec in ("", "&recursive=true"):
            path = f"{V}/hist?wait=true&waitIndex={at}{rec}"
            compare(tap, path, *(request(m.client, "GET", path, events=1, timeout=3) for m in (ours, stock)), ids, False)
    for m in (ours, stock):
        pipeline(m.client, "other", 1010)
    for at in (index, 1, index + 500):
        path = f"{V}/other?wait=true&waitIndex={at}"
        compare(tap, path, *(request(m.client, "GET", path, events=1, timeout=3) for m in (ours, stock)), ids, False)


def keep_alive(tap, ours, stock):
    """Several requests on one connection, pipelined."""
    import socket
    answers = []
    for m in (ours, stock):
        s = socket.create_connection(("127.0.0.1", m.client), 5)
        s.sendall(b"GET /v2/keys/pipe HTTP/1.1\r\nHost: x\r\n\r\n" * 3 +
                  b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while True:
            chunk = s.recv(65536)
            if not chunk:
                break
            data += chunk
        s.close()
        answers.append(re.findall(rb"HTTP/1.1 \d+", data))
    tap.ok(answers[0] == answers[1] and len(answers[0]) == 4, "pipelined requests", answers)


def main():
    need(OURS, STOCK)
    tap = Tap()
    with cluster(1) as (ours,), cluster(1, STOCK) as (stock,):
        def member_id(m):
            return json.loads(request(m.client, "GET", "/v2/members")[2])["members"][0]["id"]
        ids = {member_id(stock): member_id(ours), f":{stock.client}": f":{ours.client}", f":{stock.peer}": f":{ours.peer}"}
        time.sleep(0.5)
        for method, path, body, headers in requests():
            name = f"{method} {path} {(body or '')[:60]!r}"
            a = request(ours.client, method, path, body, headers)
            b = request(stock.client, method, path, body, headers)
            compare(tap, name, a, b, ids, "sorted" not in path or not re.search("sorted=(true|T|1)", path))
        watch_both(tap, ours, stock, ids)
        history(tap, ours, stock, ids)
        keep_alive(tap, ours, stock)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
