#!/usr/bin/dash
# The first process of the machine: prepares it, runs what /plan says, test by test, and tells the result
# on the second serial port. What is told begins with "@@"; what a test has printed begins with a space.
busybox=/busybox/busybox
$busybox --install -s /busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/busybox HOME=/root TERM=dumb
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
ifconfig lo up
hostname guest
. /environment
stty -F "/dev/$TOLD" raw -echo
exec 3>"/dev/$TOLD"

echo "@@begin $(cat /proc/version)" >&3
for module in $(cat /modules); do
    modprobe "$module" 2>/dev/null || echo "@@missing $module" >&3
done

# In hundredths of a second.
now() { read -r up _ </proc/uptime; now=${up%.*}${up#*.}; }

# What the kernel itself complains of since the last time. The limit of a control group is a test's own doing.
complaints() {
    dmesg -c | sed '/invoked oom-killer/,/Memory cgroup out of memory/{/Out of memory: /!d}' |
        grep -E 'WARNING: |BUG: |Oops|general protection|Call Trace|refcount_t|hung task|Out of memory: '
}

dmesg -c >/run/boot
grep -E 'WARNING: |BUG: |Oops' /run/boot | sed 's/^/@@boot /' >&3
/tracer/tracer doctor --json 2>/run/doctor.err | sed 's/^/@@doctor /' >&3
sed 's/^/ /' /run/doctor.err >&3
if [ -n "$LINKS" ]; then
    # Every link by itself. A wrong name is answered with those that there are.
    hooks=$(/tracer/tracer doctor --json | sed -n 's/.*"name":"\([a-z_]*\)".*"backend":"[a-z_]*".*/\1/p')
    for hook in $hooks; do
        said=$(/tracer/tracer doctor --backend "$hook=x" 2>&1) && continue
        for link in $(echo "$said" | sed -n 's/.* it has //p' | tr -d ,); do
            loads=no
            /tracer/tracer doctor --json --backend "$hook=$link" 2>/dev/null |
                grep -q "\"name\":\"$hook\",\"ok\":true,\"backend\":\"$link\"" && loads=yes
            echo "@@link $hook=$link $loads" >&3
        done
    done
fi
export TRACER_SKIP_LOG=/run/skipped
while read -r test; do
    echo "@@start $test" >&3
    : >/run/skipped
    now; began=$now
    timeout -s KILL "$TEST_LIMIT" /tracer/tests --exact "$test" --test-threads=1 </dev/null >/run/output 2>&1
    status=$?
    now; took=$((now - began))
    if [ $status -ne 0 ]; then
        # Whatever it has left behind is not to disturb the next one.
        killall -q -9 tracer traffic
        tail -n 200 /run/output | tail -c 30000 | sed 's/^/ /' >&3
        echo >&3
    fi
    sed 's/^/@@skipped /' /run/skipped >&3
    complaints | head -n 20 | sed 's/^/@@kernel /' >&3
    echo "@@end $status $took" >&3
done </plan
echo "@@done" >&3
# Closing waits until the port has sent everything.
exec 3>&-
reboot -f
