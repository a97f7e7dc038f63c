#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The container engine through the docker command: lifecycle, exit codes, signals, logs, exec, ports, limits,
# confinement, copies, crashes. Runs in a network namespace of its own over a store in a temporary folder.
# TAP; exit 77 when this machine cannot do it.
set -u
build=${TEST_BUILD_DIR:-build/debug}
if [ -z "${IN_NETNS:-}" ]; then
        [ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 77; }
        for p in busybox nft ip curl unshare; do
                command -v $p >/dev/null || { echo "1..0 # SKIP needs $p"; exit 77; }
        done
        unshare -n -m true 2>/dev/null || { echo "1..0 # SKIP cannot make namespaces"; exit 77; }
        IN_NETNS=1 exec unshare -n -m "$0" "$@"
fi
D=$build/programs/docker
W=$(mktemp -d /tmp/coracle-docker-XXXXXX)
export CORACLE_ROOT=$W/root
export ASAN_OPTIONS=detect_leaks=0
ip link set lo up
n=0 bad=0

finish() {
        for c in $($D ps -q 2>/dev/null); do $D rm -f "$c" >/dev/null 2>&1; done
        rm -rf "$W"
}
trap finish EXIT

ok() { # ok NAME: by the status of the command before
        local status=$?
        n=$((n + 1))
        if [ $status = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; bad=$((bad + 1)); fi
}
same() { # same NAME GOT WANTED
        if [ "$2" = "$3" ]; then true; else printf '# got: %s\n# want: %s\n' "$2" "$3"; false; fi
        ok "$1"
}
has() { # has NAME TEXT PIECE
        case "$2" in *"$3"*) true ;; *) printf '# %s\n# lacks: %s\n' "$2" "$3"; false ;; esac
        ok "$1"
}

# An image of one static program.
busybox_image() {
        mkdir -p "$W/img/root/"{bin,etc,tmp,data,var/lib/vol,proc}
        cp "$(command -v busybox)" "$W/img/root/bin/busybox"
        for a in sh ls cat echo sleep id env true false touch mkdir mknod grep ps kill nc pwd stat ln dd head wc \
                hostname ip ping tty stty mount chroot rm test; do
                ln -s busybox "$W/img/root/bin/$a"
        done
        printf 'root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/srv:/bin/sh\n' >"$W/img/root/etc/passwd"
        printf 'root:x:0:\nwww:x:33:\nextra:x:77:www\n' >"$W/img/root/etc/group"
        echo content >"$W/img/root/data/file"
        echo seed >"$W/img/root/var/lib/vol/seed"
        tar -C "$W/img/root" --owner=0 --group=0 -cf "$W/img/layer.tar" .
        local diff
        diff=$(sha256sum "$W/img/layer.tar" | cut -d' ' -f1)
        cat >"$W/img/config.json" <<-J
	{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","config":{"Env":["PATH=/bin","IMG=1"],
	"Cmd":["sh"],"Volumes":{"/var/lib/vol":{}},"Labels":{"who":"test"}},
	"rootfs":{"type":"layers","diff_ids":["sha256:$diff"]},
	"history":[{"created":"2024-01-01T00:00:00Z","created_by":"test"}]}
	J
        echo '[{"Config":"config.json","RepoTags":["bb:latest"],"Layers":["layer.tar"]}]' >"$W/img/manifest.json"
        tar -C "$W/img" -cf "$W/bb.tar" config.json manifest.json layer.tar
        $D load -i "$W/bb.tar" >/dev/null
}
busybox_image
ok "an image is loaded"
run() { $D run --rm --net none "$@"; }

# ---- results ----
same "output" "$(run bb echo hi)" hi
run bb sh -c 'exit 7'; same "the exit code comes through" $? 7
run bb sh -c 'kill -9 $$' 2>/dev/null; same "SIGKILL is not for process 1 from inside" $? 0
run bb nosuch 2>"$W/err"; same "command not found is 127" $? 127
has "and says so" "$(cat "$W/err")" 'exec: "nosuch": executable file not found in $PATH'
run bb /etc/passwd 2>/dev/null; same "not executable is 126" $? 126
run bb /data 2>/dev/null; same "a folder is 126" $? 126
run --nosuchflag bb true 2>/dev/null; same "a bad flag is 125" $? 125
run --pull never nosuchimage true 2>"$W/err"; same "a missing image is 125" $? 125
run -u nobody bb true 2>"$W/err"; same "an unknown user is 125" $? 125
has "and says so" "$(cat "$W/err")" "unable to find user nobody"
run --restart=always bb true 2>"$W/err"; same "--restart is refused" $? 125
has "with advice" "$(cat "$W/err")" "systemd unit"
same "stderr is separate" "$(run bb sh -c 'echo out; echo err >&2' 2>/dev/null)" out
same "stdin" "$(echo through | run -i bb cat)" through
same "much data" "$(head -c 3000000 /dev/zero | run -i bb cat | wc -c)" 3000000
same "old single-dash options" "$($D run -rm -net none -name old bb echo hi)" hi
same "--rm leaves nothing" "$(ls "$CORACLE_ROOT/containers" "$CORACLE_ROOT/names" | grep -v :)" ""

# ---- process ----
same "user by name with groups" "$(run -u www bb id)" "uid=33(www) gid=33(www) groups=77(extra)"
same "user and group by number" "$(run -u 1000:2000 bb sh -c 'id -u; id -g' | tr '\n' ' ')" "1000 2000 "
same "a user can open /dev/stdout" "$(run -u www bb sh -c 'echo x >/dev/stdout')" x
same "environment" "$(KEEP=k run -e A=1 -e IMG=2 -e KEEP -e GONE bb env | grep -E '^(A|IMG|KEEP|GONE)=' | tr '\n' ' ')" \
        "IMG=2 A=1 KEEP=k "
printf '# comment\nF1=a b\nKEEP\n' >"$W/envfile"
same "--env-file" "$(KEEP=k run --env-file "$W/envfile" bb env | grep -E '^(F1|KEEP)=' | tr '\n' ' ')" "F1=a b KEEP=k "
same "working directory is made" "$(run -w /new/dir bb pwd)" /new/dir
same "--entrypoint clears the command" "$(run --entrypoint echo bb a b)" "a b"
same "--hostname" "$(run --hostname box bb hostname)" box
same "-t gives a terminal" "$(run -t bb tty | tr -d '\r')" /dev/pts/0
same "--init reaps and passes the code on" "$(run --init bb sh -c 'cat /proc/1/comm; exit 3'; echo $?)" "$(printf 'coracle-shim\n3')"
same "--read-only" "$(run --read-only bb touch /x 2>&1 | grep -c 'Read-only')" 1
same "--tmpfs" "$(run --tmpfs /tmp:size=1m bb sh -c 'grep " /tmp " /proc/mounts | grep -c size=1024k')" 1
same "--ulimit" "$(run --ulimit nofile=100:200 bb sh -c 'ulimit -n; ulimit -Hn' | tr '\n' ' ')" "100 200 "
same "--add-host" "$(run --add-host other:1.2.3.4 bb grep other /etc/hosts)" "$(printf '1.2.3.4\tother')"

# ---- confinement ----
status=$(run bb cat /proc/self/status)
has "capabilities" "$status" "CapEff:	00000000a80425fb"
has "bounding set" "$status" "CapBnd:	00000000a80425fb"
has "no inheritable capabilities" "$status" "CapInh:	0000000000000000"
has "seccomp is on" "$status" "Seccomp:	2"
has "--cap-drop ALL --cap-add" "$(run --cap-drop ALL --cap-add NET_BIND_SERVICE bb cat /proc/self/status)" \
        "CapEff:	0000000000000400"
has "a user has none" "$(run -u www bb cat /proc/self/status)" "CapEff:	0000000000000000"
has "no-new-privileges" "$(run --security-opt no-new-privileges bb cat /proc/self/status)" "NoNewPrivs:	1"
major=$(stat -c %t /dev/vda 2>/dev/null || echo fe)
run bb mknod /dev/disk b $((16#$major)) 0 2>/dev/null; same "mknod of a block device is refused" $? 1
run --cap-add ALL bb mknod /dev/disk b $((16#$major)) 0 2>/dev/null; same "with every capability too" $? 1
run bb mknod /tmp/fifo p; same "a fifo may be made" $? 0
same "kcore is masked" "$(run bb sh -c 'head -c 1 /proc/kcore 2>/dev/null | wc -c')" 0
same "/sys/firmware is empty" "$(run bb ls /sys/firmware | wc -l)" 0
run bb sh -c 'echo 1 >/proc/sys/kernel/panic' 2>/dev/null; same "/proc/sys is read-only" $? 1
run bb sh -c 'echo b >/proc/sysrq-trigger' 2>/dev/null; same "sysrq cannot be written" $? 1
run bb mount -t tmpfs x /tmp 2>/dev/null; same "mount is refused" $? 1
same "no descriptors leak" "$(run bb sh -c 'ls /proc/self/fd | wc -l')" 4
same "nor into exec" "$($D run -d --net none --name fds bb sleep 60 >/dev/null; $D exec fds sh -c 'ls /proc/self/fd | wc -l')" 4
same "its processes are few" "$($D exec fds ps | grep -vc PID)" 2
run -w /proc/self/fd/7 bb true 2>/dev/null; same "a working directory through /proc/self/fd is refused" $? 125
shim=$(sed -n 's/^PPid:\t//p' "/proc/$($D inspect --format '{{.State.Pid}}' fds)/status")
run bb /proc/self/exe 2>/dev/null; [ $? != 0 ]; ok "the shim's program is no use from inside"
same "a process that does not read its input costs nothing" "$(head -c 3000000 /dev/zero | timeout 20 $D exec -i fds sleep 1; \
        awk '{print ($14 + $15 < 50)}' "/proc/$shim/stat")" 1
# What a container could do once the program has ended and is no longer "busy".
python3 - "$shim" "$D" <<-P
	import errno, os, subprocess, sys
	fd = os.open(f"/proc/{sys.argv[1]}/exe", os.O_PATH)
	subprocess.run([sys.argv[2], "rm", "-f", "fds"], stdout=subprocess.DEVNULL)
	try:
	    os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
	except OSError as e:
	    sys.exit(e.errno != errno.EROFS)
	sys.exit(1)
	P
ok "the shim's program cannot be written to"
has "--privileged has all" "$(run --privileged bb cat /proc/self/status)" "Seccomp:	0"

# ---- detached ----
id=$($D run -d --name web --net none bb sh -c 'echo one; echo two >&2; echo three; sleep 600')
same "-d prints the id" "${#id}" 64
has "ps shows it" "$($D ps)" "web"
same "ps -q" "$($D ps -q --no-trunc)" "$id"
same "inspect --format" "$($D inspect --format '{{.State.Running}} {{.Name}} {{index .Config.Cmd 0}}' web)" "true /web sh"
$D run -d --name web --net none bb true 2>"$W/err"; same "a name conflict is 125" $? 125
has "and names the owner" "$(cat "$W/err")" "Conflict. The container name \"/web\" is already in use by container \"$id\""
for i in 1 2 3 4 5 6 7 8 9 10; do [ "$($D logs web 2>&1 | wc -l)" = 3 ] && break; sleep 0.1; done
same "logs" "$($D logs web 2>/dev/null | tr '\n' ' ')" "one three "
same "logs of stderr" "$($D logs web 2>&1 >/dev/null)" two
same "logs --tail" "$($D logs --tail 2 web 2>&1 | wc -l)" 2
has "logs -t" "$($D logs -t web 2>/dev/null)" "Z three"
same "exec" "$($D exec -e X=5 web sh -c 'echo $X')" 5
$D exec web sh -c 'exit 9'; same "exec's exit code" $? 9
$D exec web nosuch 2>/dev/null; same "exec of nothing is 127" $? 127
same "exec has the same confinement" "$($D exec web grep -E 'CapEff|Seccomp:' /proc/self/status | tr '\n\t' '  ')" \
        "CapEff: 00000000a80425fb Seccomp: 2 "
same "exec -u" "$($D exec -u www web id -u)" 33
same "exec -i" "$(echo x | $D exec -i web cat)" x
$D start web >/dev/null; same "start of what runs is a success" $? 0
$D rm web 2>/dev/null; same "rm of what runs is refused" $? 1
$D pause web >/dev/null && has "pause" "$($D ps)" "(Paused)"
$D unpause web >/dev/null; ok "unpause"
has "top" "$($D top web)" "sleep 600"
same "rename" "$($D rename web web2 && $D inspect --format '{{.Name}}' web2)" /web2
before=$(date +%s%N); $D stop -t 1 web2 >/dev/null; took=$((($(date +%s%N) - before) / 1000000))
[ $took -ge 900 ] && [ $took -lt 6000 ]; ok "stop waits its grace, then kills ($took ms)"
same "exit code after SIGKILL" "$($D inspect --format '{{.State.ExitCode}} {{.State.Status}}' web2)" "137 exited"
$D kill web2 2>"$W/err"; same "kill of what does not run fails" $? 1
has "and says so" "$(cat "$W/err")" "is not running"
same "start again" "$($D start web2)" web2
same "kill and wait" "$($D wait web2 & sleep 0.2; $D kill web2 >/dev/null; wait)" 137
same "rm" "$($D rm web2)" web2
$D rm web2 2>"$W/err"; same "rm of nothing fails" $? 1
same "with docker's words" "$(cat "$W/err")" "Error response from daemon: No such container: web2"
$D stop nosuch 2>/dev/null; same "stop of nothing fails" $? 1
same "inspect of nothing" "$($D inspect nosuch 2>/dev/null)" "[]"
$D create --name made --net none bb sh -c 'echo started; exit 4' >/dev/null
same "start -a" "$($D start -a made; echo $?)" "$(printf 'started\n4')"
has "ps -a" "$($D ps -a --format '{{.Names}} {{.Status}}')" "made Exited (4)"
$D rm made >/dev/null

# ---- signals ----
$D run --name sig --net none bb sh -c 'trap "echo got; exit 42" TERM; echo ready; while :; do sleep 0.05; done' >"$W/out" &
pid=$!
for i in $(seq 50); do grep -q ready "$W/out" && break; sleep 0.1; done
kill -TERM $pid; wait $pid; same "TERM to the command reaches process 1" $? 42
same "which handled it" "$(tail -1 "$W/out")" got
$D rm sig >/dev/null

# ---- volumes ----
mkdir "$W/host"; echo fromhost >"$W/host/f"
same "bind" "$(run -v "$W/host:/mnt" bb cat /mnt/f)" fromhost
run -v "$W/host:/mnt:ro" bb touch /mnt/x 2>/dev/null; same "bind read-only" $? 1
run -v "$W/host/made:/mnt" bb true; [ -d "$W/host/made" ]; ok "a missing bind source is made"
run --mount type=bind,src="$W/none",dst=/mnt bb true 2>/dev/null; same "but not by --mount" $? 125
same "a named volume begins with the image's content" "$(run -v vol:/data bb cat /data/file)" content
run -v vol:/data bb sh -c 'echo more >/data/more'
same "and stays" "$(run -v vol:/data bb cat /data/more)" more
$D run --name donor --net none -v vol:/data bb true
same "--volumes-from" "$(run --volumes-from donor bb cat /data/more)" more
$D rm -v donor >/dev/null
[ -d "$CORACLE_ROOT/volumes/vol" ]; ok "rm -v leaves named volumes"
volumes=$($D volume ls -q | wc -l)
run bb true; same "run --rm takes its anonymous volumes along" "$($D volume ls -q | wc -l)" "$volumes"
$D run --name anon --net none bb true; $D rm -v anon >/dev/null
same "rm -v too" "$($D volume ls -q | wc -l)" "$volumes"
run -v "$W/host:/proc/x" bb true 2>/dev/null; same "no volume inside /proc" $? 125

run -v /nowhere/docker.sock:/var/run/docker.sock bb true 2>"$W/err"; same "no docker.sock, said clearly" $? 125
has "with the reason" "$(cat "$W/err")" "no API server"

# ---- copies ----
$D run -d --name cp --net none bb sh -c 'ln -s /etc /evil; ln -s /../../../../../../etc /evil2; sleep 600' >/dev/null
echo copied >"$W/src"
$D cp "$W/src" cp:/tmp/; same "cp into a folder" "$($D exec cp cat /tmp/src)" copied
$D cp cp:/data/file "$W/dst"; same "cp out" "$(cat "$W/dst")" content
mkdir -p "$W/tree/a/b"; echo deep >"$W/tree/a/b/c"
$D cp "$W/tree" cp:/tmp/; same "cp a tree" "$($D exec cp cat /tmp/tree/a/b/c)" deep
$D cp "$W/tree/." cp:/tmp/flat; same "cp a tree's content" "$($D exec cp cat /tmp/flat/a/b/c)" deep
$D cp "$W/src" cp:/evil/pwned; same "a link inside means the container's /etc" "$($D exec cp cat /etc/pwned)" copied
$D cp "$W/src" cp:/evil2/pwned2; same "also with .." "$($D exec cp cat /etc/pwned2)" copied
[ ! -e /etc/pwned ] && [ ! -e /etc/pwned2 ]; ok "and not this machine's"
$D exec cp ln -s /root/secret /tmp/out
$D cp cp:/tmp/out "$W/link"; same "a link comes out as a link" "$(readlink "$W/link")" /root/secret
$D cp cp:/nosuch "$W/x" 2>/dev/null; same "cp of nothing fails" $? 1
same "cp to a tar" "$($D cp cp:/data - | tar -xO data/file)" content
tar -C "$W" -c src | $D cp - cp:/data; same "cp from a tar" "$($D exec cp cat /data/src)" copied
$D kill cp >/dev/null
same "cp from a stopped container" "$($D cp cp:/tmp/src - | tar -xO)" copied
$D cp "$W/dst" cp:/tmp/late && $D start cp >/dev/null; same "cp into a stopped container" "$($D exec cp cat /tmp/late)" content
$D rm -f cp >/dev/null

# ---- network ----
$D run -d --name srv -p 8080:80 -p 127.0.0.1:8081:80 --expose 443 bb \
        sh -c 'while :; do printf "HTTP/1.0 200 OK\r\n\r\npage\n" | nc -l -p 80 >/dev/null; done' >/dev/null
get() { for i in 1 2 3 4 5 6 7 8 9 10; do "$@" 2>/dev/null && return; sleep 0.1; done; }
same "published on localhost" "$(get curl -s --max-time 2 127.0.0.1:8080)" page
same "published on 127.0.0.1 only" "$(get curl -s --max-time 2 127.0.0.1:8081)" page
addr=$($D inspect --format '{{.NetworkSettings.IPAddress}}' srv)
same "its address" "$addr" 172.17.0.2
same "directly" "$(get curl -s --max-time 2 "$addr")" page
same "from a neighbour" "$(get $D run --rm bb sh -c "echo | nc -w 2 $addr 80 | grep page")" page
same "from a neighbour by the host's address" "$(get $D run --rm bb sh -c 'echo | nc -w 2 172.17.0.1 8080 | grep page')" page
same "from itself by the host's address" "$(get $D exec srv sh -c 'echo | nc -w 2 172.17.0.1 8080 | grep page')" page
same "--net container:X" "$(get $D run --rm --net container:srv bb sh -c 'echo | nc -w 2 127.0.0.1 80 | grep page')" page
same "--link" "$($D run --rm --link srv:db bb sh -c 'grep -c db /etc/hosts; echo $DB_PORT_443_TCP_ADDR' | tr '\n' ' ')" "1 172.17.0.2 "
same "port" "$($D port srv 80 | tr '\n' ' ')" "0.0.0.0:8080 127.0.0.1:8081 "
$D run --rm -p 8080:80 bb true 2>"$W/err"; same "a taken port is 125" $? 125
has "and says so" "$(cat "$W/err")" "port is already allocated"
nc_pid=
python3 -c 'import socket,time; s=socket.socket(); s.bind(("",9099)); s.listen(); time.sleep(60)' & nc_pid=$!
for i in 1 2 3 4 5 6 7 8 9 10; do ss -ltn 2>/dev/null | grep -q 9099 && break; sleep 0.1; done
$D run --rm -p 9099:80 bb true 2>"$W/err"; same "a port another program has is 125" $? 125
has "and says so" "$(cat "$W/err")" "address already in use"
kill $nc_pid; wait $nc_pid 2>/dev/null
unshare -n sleep 60 & ext=$!
sleep 0.2
ip link add ext0 type veth peer name e1 netns $ext
ip addr add 192.168.9.1/24 dev ext0; ip link set ext0 up
outside() { nsenter -t $ext -n "$@"; }
outside ip addr add 192.168.9.2/24 dev e1; outside ip link set e1 up; outside ip link set lo up
same "from another machine" "$(get outside curl -s --max-time 2 192.168.9.1:8080)" page
outside curl -s --max-time 1 192.168.9.1:8081 >/dev/null; [ $? != 0 ]; ok "a 127.0.0.1 port is closed to it"
outside ip addr del 127.0.0.1/8 dev lo; outside ip route add 127.0.0.1/32 via 192.168.9.1 2>/dev/null
outside curl -s --max-time 1 127.0.0.1:8081 >/dev/null; [ $? != 0 ]; ok "also when it asks for 127.0.0.1"
kill $ext; wait $ext 2>/dev/null
$D rm -f srv >/dev/null
same "no port elements are left" "$(nft list table ip coracle | grep -c elements)" 0
same "no leases are left" "$(wc -c <"$CORACLE_ROOT/network/leases")" 0
same "--net host" "$($D run --rm --net host bb ip link show docker0 | grep -c docker0:)" 1
for i in $(seq 20); do ip -br link | grep -q veth || break; sleep 0.1; done
same "no veth is left" "$(ip -br link | grep -c veth)" 0

# ---- limits ----
$D run --name oom --net none -m 8m --memory-swap 8m bb sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' 2>/dev/null
same "out of memory is 137" $? 137
same "and is told" "$($D inspect --format '{{.State.OOMKilled}}' oom)" true
$D rm oom >/dev/null
run -m 1m bb true 2>/dev/null; same "too small a limit is refused" $? 125
same "--pids-limit" "$(run --pids-limit 5 bb sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1 | grep -c fork)" 1
same "limits are visible inside" \
        "$(run -m 64m bb sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null')" 67108864

# ---- death of everything ----
$D run --name fg -p 8085:80 bb sleep 600 & cli=$!
for i in $(seq 50); do [ "$($D inspect --format '{{.State.Running}}' fg 2>/dev/null)" = true ] && break; sleep 0.1; done
inner=$($D inspect --format '{{.State.Pid}}' fg)
kill -9 $cli; wait $cli 2>/dev/null
for i in $(seq 50); do kill -0 "$inner" 2>/dev/null || break; sleep 0.1; done
kill -0 "$inner" 2>/dev/null; same "a foreground container dies with its command" $? 1
for i in $(seq 50); do [ "$($D inspect --format '{{.State.Status}}' fg)" = exited ] && break; sleep 0.1; done
same "its state is right" "$($D inspect --format '{{.State.Status}} {{.State.ExitCode}}' fg)" "exited 137"
$D rm fg >/dev/null
crash=$($D run -d --name crash -p 8086:80 bb sh -c 'sleep 600 & sleep 600')
inner=$($D inspect --format '{{.State.Pid}}' crash)
shim=$(sed -n 's/^PPid:\t//p' "/proc/$inner/status")
kill -9 "$shim" "$inner" 2>/dev/null
for i in $(seq 50); do kill -0 "$inner" 2>/dev/null || break; sleep 0.1; done
same "after SIGKILL of everything it counts as dead" "$($D inspect --format '{{.State.Status}} {{.State.ExitCode}}' crash)" "exited 137"
$D ps >/dev/null
same "its port element goes with the next command" "$(nft list table ip coracle | grep -c elements)" 0
for i in $(seq 20); do ip -br link | grep -q veth || break; sleep 0.1; done
same "no veth" "$(ip -br link | grep -c veth)" 0
same "no mount" "$(grep -c "$W" /proc/mounts)" 0
same "no control group" "$(find /sys/fs/cgroup -name "ctr-$crash" -type d 2>/dev/null | wc -l)" 0
same "it starts again" "$($D start crash)" crash
$D rm -f crash >/dev/null

# ---- many at once ----
for i in $(seq 20); do $D run --rm bb echo "$i" >"$W/par.$i" 2>&1 & done
wait
same "20 at once" "$(cat "$W"/par.* | sort -n | tr '\n' ' ')" "$(seq -s ' ' 20) "
for i in 1 2 3 4 5 6 7 8; do $D run -d --net none --name same bb sleep 600 >"$W/par.$i" 2>/dev/null & done
wait
same "one of eight gets the name" "$(cat "$W"/par.[1-8] | grep -c '^[0-9a-f]\{64\}$')" 1
$D rm -f same >/dev/null
same "nothing is left" "$($D ps -aq | wc -l)" 0

echo "1..$n"
[ $bad = 0 ]
