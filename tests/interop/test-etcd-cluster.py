#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three members under load: the leader is killed (-9), paused (SIGSTOP), a follower is killed and comes back with its
data. Checked: no acknowledged write is lost, no linearizable read is stale, and the first write after the leader's
death succeeds within 2 s at default timers."""
import json
import os
import signal
import sys
import threading
import time

from etcdlib import OURS, Tap, cluster, need, request

KEYS = 4
WRITE_WITHIN = 2.0
DEADLINE = 9.0


class Client(threading.Thread):
    """Writes rising numbers to its own key and reads it back by quorum, going from member to member. Every operation is
    noted with its times; one client per key makes the check simple: a read must show the last acknowledged write, or
    one that was still undecided."""

    def __init__(self, members, key):
        super().__init__(daemon=True)
        self.members, self.key, self.stop = members, key, False
        self.at = key
        self.acked, self.undecided = 0, []
        self.writes, self.errors, self.stale = [], 0, []

    def run(self):
        n = 0
        while not self.stop:
            n += 1
            m = self.members[self.at % len(self.members)]
            begin = time.monotonic()
            try:
                status, _, _ = request(m.client, "PUT", f"/v2/keys/k{self.key}", f"value={n}", timeout=DEADLINE)
            except OSError:
                status = -2
            end = time.monotonic()
            if status in (200, 201):
                self.acked, self.undecided = n, []
                self.writes.append((begin, end))
            else:
                self.errors += 1
                self.undecided.append(n)
                self.at += 1
                time.sleep(0.02)
                continue
            self.read()
            self.at += n % 7 == 0  # now and then another member

    def read(self):
        m = self.members[(self.at + 1) % len(self.members)]
        try:
            status, _, body = request(m.client, "GET", f"/v2/keys/k{self.key}?quorum=true", timeout=DEADLINE)
        except OSError:
            return
        if status != 200:
            return
        seen = int(json.loads(body)["node"]["value"])
        if seen < self.acked:
            self.stale.append((seen, self.acked, m.name))


def leader_of(members, timeout=10):
    end = time.time() + timeout
    while time.time() < end:
        for m in members:
            if m.process.poll() is not None:
                continue
            try:
                status, _, body = request(m.client, "GET", "/v2/stats/self", timeout=1)
            except OSError:
                continue
            if status == 200 and json.loads(body)["state"] == "StateLeader":
                return m
        time.sleep(0.05)
    raise SystemExit("there is no leader")


def first_write_after(clients, moment):
    """Seconds from the moment until an operation that began after it was acknowledged, of any client."""
    ends = [end for c in clients for begin, end in c.writes if begin > moment]
    return min(ends) - moment if ends else float("inf")


def check_values(tap, members, clients, what):
    wrong = []
    for c in clients:
        allowed = {c.acked, *c.undecided}
        for m in members:
            status, _, body = request(m.client, "GET", f"/v2/keys/k{c.key}?quorum=true", timeout=DEADLINE)
            value = int(json.loads(body)["node"]["value"]) if status == 200 else None
            if value not in allowed:
                wrong.append((m.name, c.key, value, sorted(allowed)))
    tap.ok(not wrong, f"no acknowledged write is lost ({what})", wrong)


def same_hash(tap, members):
    """The whole v3 store and v2 tree agree everywhere."""
    trees = [request(m.client, "GET", "/v2/keys/?recursive=true&sorted=true&quorum=true", timeout=DEADLINE)[2] for m in members]
    tap.ok(len(set(trees)) == 1, "all members show the same tree", trees)


def run_faults(tap, members):
    clients = [Client(members, k) for k in range(KEYS)]
    for c in clients:
        c.start()
    time.sleep(1)
    # kill -9 of the leader
    victim = leader_of(members)
    victim.kill(signal.SIGKILL)
    moment = time.monotonic()
    time.sleep(4)
    took = first_write_after(clients, moment)
    tap.ok(took < WRITE_WITHIN, f"first write {took:.2f} s after kill -9 of the leader", took)
    victim.start()
    victim.wait_ready()
    # a paused leader must not answer with old data when it wakes
    victim = leader_of(members)
    victim.process.send_signal(signal.SIGSTOP)
    moment = time.monotonic()
    time.sleep(4)
    took = first_write_after(clients, moment)
    tap.ok(took < WRITE_WITHIN + 0.5, f"first write {took:.2f} s after the leader was paused", took)
    victim.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    # a follower dies and comes back
    leader = leader_of(members)
    follower = next(m for m in members if m is not leader)
    follower.kill(signal.SIGKILL)
    time.sleep(0.5)
    follower.start()
    follower.wait_ready()
    time.sleep(0.5)
    for c in clients:
        c.stop = True
    for c in clients:
        c.join(DEADLINE + 2)
    stale = [s for c in clients for s in c.stale]
    tap.ok(not stale, "no stale linearizable read", stale)
    total = sum(len(c.writes) for c in clients)
    tap.ok(total > 100, f"{total} writes acknowledged, {sum(c.errors for c in clients)} without answer")
    check_values(tap, members, clients, "after the faults")
    for m in members:  # a power cut for all
        m.kill(signal.SIGKILL)
    for m in members:
        m.start()
    for m in members:
        m.wait_ready()
    check_values(tap, members, clients, "after kill -9 of all")
    same_hash(tap, members)


def forwarded_write_survives(tap, members):
    """A write that waits at a follower while the leader dies is carried out by the next leader, without an error."""
    leader = leader_of(members)
    follower = next(m for m in members if m is not leader)
    leader.process.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    status, _, body = request(follower.client, "PUT", "/v2/keys/waits", "value=1", timeout=DEADLINE)
    took = time.monotonic() - begin
    leader.process.send_signal(signal.SIGCONT)
    tap.ok(status == 201 and took < 4, f"a write forwarded to a dying leader succeeds after {took:.2f} s", (status, body))


def main():
    need(OURS)
    tap = Tap()
    # few entries a snapshot, so that every restart begins from one
    extra = os.environ.get("TEST_ETCD_FLAGS", "--snapshot-count 300").split()
    with cluster(3, extra=extra) as members:
        run_faults(tap, members)
        forwarded_write_survives(tap, members)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
