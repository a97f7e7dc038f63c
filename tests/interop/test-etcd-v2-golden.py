#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays tests/data/golden/etcd-2.3.8-v2-api.txt, recorded from a real 2.3.8, against our etcd.

What may differ, and why:
  X-Raft-Index, X-Raft-Term, Date, cluster id, ports, expiration, ttl by one   another cluster at another time
  Access-Control-*                 3.4 allows every origin unless told otherwise, 2.3 none (run with --cors=none)
  body of a 301                    3.4's Go writes a link, 2.3's none; we match 3.4 (the headers agree)
  SKIPPED below                    each with its reason
"""
import json
import os
import re
import sys
import threading
import time

from etcdlib import OURS, SOURCE, Tap, cluster, need, pipeline, request

GOLDEN = os.path.join(SOURCE, "tests/data/golden/etcd-2.3.8-v2-api.txt")
HEADERS = ("Content-Type", "X-Etcd-Index", "Location", "Allow", "X-Content-Type-Options")
SKIPPED = {
    "GET /version": "the version is another one",
    "GET /health": "3.x writes it without the space",
    "GET /v2/members": "ids follow the ports; the name differs", "GET /v2/members/": "as above",
    "GET /v2/members/leader": "as above", "GET /v2/machines": "the port",
    "GET /v2/stats/self": "times and ids", "GET /v2/stats/leader": "ids", "GET /v2/stats/store": "counters",
    "GET /debug/vars": "Go's own variables", "GET /v2/auth/users": "users are not built", "GET /v2/auth/roles": "as above",
    "GET /config/local/log": "gone in 3.x", "PUT /config/local/log": "gone in 3.x",
    'POST /v2/members  [{"peerURLs":["bogus"]}]': "3.4 names unix URLs too",
    "POST /v2/members  [{bad]": "the words of Go's JSON reader",
    "GET /v2/keys/t4?wait": "",
    "WATCH /v2/keys/t4?wait=true&recursive=true&waitIndex=1": "3.x gives the folder's own event first",
    "WATCH /v2/keys/t4/k?wait=true": "2.3.8 leaves `dir` out of the expiry of a folder, 3.x has it",
}
# What the recording script did behind a watch, in the order of the recording: (method, path, body), by position.
TRIGGERS = {
    0: [("PUT", "/w", "value=1")], 1: [("PUT", "/w", "value=2")], 2: [("DELETE", "/w", None)],
    3: [("PUT", "/wd/a/b", "value=1")], 4: [("PUT", "/wd/a/b", "value=2")], 5: [("DELETE", "/wd?recursive=true", None)],
    6: [("PUT", "/_hid", "value=1")], 7: [("PUT", "/_hid", "value=1")], 8: [("PUT", "/t3", "value=1&ttl=1")], 9: [],
    10: [], 11: [], 12: [("PUT", "/rf", "refresh=true&ttl=200")],
}


def entries():
    """(request line, body, headers, expected head line, expected body)"""
    with open(GOLDEN, encoding="utf-8") as f:
        text = f.read()
    for m in re.finditer(r"^>>> (.*)\n<<< ?(.*)\n((?:    .*\n|\n(?=    )|[^>#<\n].*\n)*)", text, re.M):
        line, head, body = m.groups()
        body = body.split("\n2MB PUT")[0]
        body = "\n".join(x[4:] if x.startswith("    ") else x for x in body.split("\n")).strip("\n")
        r = re.match(r"(\S+) (\S+)(?:  \[(.*?)\])?(?: (\{.*\}))?$", line)
        if r:
            yield line, r.group(1), r.group(2), r.group(3), eval(r.group(4)) if r.group(4) else {}, head, body  # a dict literal


def mask(text):
    text = re.sub(r'"expiration":"[^"]*"', '"expiration":"T"', text)
    return re.sub(r'"ttl":\d+', '"ttl":N', text)


def unordered(text):
    def walk(v):
        if isinstance(v, dict):
            return {k: sorted((walk(x) for x in w), key=lambda n: n["key"]) if k == "nodes" else walk(w) for k, w in v.items()}
        return v
    try:
        return json.dumps(walk(json.loads(text)))
    except ValueError:
        return text


def expected(head, body):
    status = head.split()[0]
    pairs = dict(re.findall(r"([A-Z][A-Za-z-]*)=(.*?)(?= [A-Z][A-Za-z-]*=|$)", head[len(status):].strip()))
    return (0 if status == "EXC" else int(status)), {k: v.strip() for k, v in pairs.items() if k in HEADERS}, mask(body)


def play(port, method, path, body, headers, triggers):
    if method != "WATCH":
        wait = "wait=true" in path
        return request(port, method, path, body, headers, 0.7 if wait else 5, 1 if wait else None)
    result = []

    def run():
        result.append(request(port, "GET", path, timeout=4 if triggers != "quiet" else 0.7, events=1))
    t = threading.Thread(target=run)
    t.start()
    time.sleep(0.1)
    for m, p, b in triggers if triggers != "quiet" else ():
        request(port, m, "/v2/keys" + p, b)
    t.join(5)
    return result[0]


def skipped(line):
    return next((why for k, why in SKIPPED.items() if line == k or line.startswith(k + " ")), None)


def main():
    need(OURS)
    tap = Tap()
    with cluster(1, extra=["--cors", "http://nobody.invalid"]) as (m,):
        time.sleep(0.3)
        watches = 0
        for line, method, path, body, headers, head, want_body in entries():
            if method == "STREAM":  # compared with the stock server in test-etcd-v2-parity; here only what it did
                for i in range(3):
                    request(m.client, "PUT", f"/v2/keys/st/{i}", f"value={i}")
                continue
            if path == "/v2/keys/wi?wait=true&waitIndex=62" and head.startswith("400"):
                pipeline(m.client, "fill", 1100)
            if line == "GET /v2/keys/t2" or line == "GET /v2/keys/t" and head.startswith("404"):
                time.sleep(1.3)  # the recording waited for the expiry
            triggers = []
            if method == "WATCH":
                triggers = TRIGGERS.get(watches, [])
                watches += 1
            answer = play(m.client, method, path, body, headers, triggers)
            why = skipped(line)
            if why is not None:
                print(f"# not compared: {line}: {why}")
                continue
            status, want_headers, want_text = expected(head, want_body)
            got_headers = {k: v for k, v in answer[1] if k in HEADERS}
            text = mask(answer[2].decode("utf-8", "replace").strip("\n"))
            if status == 301:
                text = want_text
                got_headers.pop("Content-Type", None)
            if status == 0:
                got_headers, text, want_headers, want_text = {}, "", {}, ""
                answer = (0 if answer[0] in (0, 200) and not answer[2] else answer[0],)
            got, want = (answer[0], got_headers, unordered(text)), (status, want_headers, unordered(want_text))
            tap.ok(got == want, line[:140], f"got  {got}\nwant {want}")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
