"""Sockets in as many states as can be made: says READY, and holds them until its input ends.

Its own process and a forked child hold the same sockets. Run in a namespace with loopback up.
"""
import ctypes
import os
import socket
import sys
import threading

kept = []


def keep(sock):
    kept.append(sock)
    return sock


def listener(family, addr, backlog=7, only6=None):
    sock = keep(socket.socket(family, socket.SOCK_STREAM))
    if only6 is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only6)
    sock.bind((addr, 0))
    sock.listen(backlog)
    return sock


def client(to, family=None, port=None):
    sock = keep(socket.socket(family or to.family, socket.SOCK_STREAM))
    sock.connect(port or to.getsockname()[:2])
    return sock


for family, addr in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    at = listener(family, addr)
    # ESTABLISHED, both ends, with bytes that nobody reads.
    one = client(at)
    two = keep(at.accept()[0])
    one.sendall(b"x" * 1234)
    # CLOSE_WAIT and FIN_WAIT2.
    one = client(at)
    two = keep(at.accept()[0])
    one.shutdown(socket.SHUT_WR)
    # TIME_WAIT.
    one = client(at)
    two = keep(at.accept()[0])
    one.close()
    two.close()
    # FIN_WAIT2 without a file: closed while the other end stays open.
    one = client(at)
    two = keep(at.accept()[0])
    one.close()
    # Not accepted, with bytes.
    client(at).sendall(b"y" * 99)
    client(at)
    # Bound, not listening: shown by nobody.
    keep(socket.socket(family, socket.SOCK_STREAM)).bind((addr, 0))
    # UDP, waiting and connected, with a datagram that nobody reads.
    udp = keep(socket.socket(family, socket.SOCK_DGRAM))
    udp.bind((addr, 0))
    other = keep(socket.socket(family, socket.SOCK_DGRAM))
    other.connect(udp.getsockname()[:2])
    other.send(b"z" * 77)
    keep(socket.socket(family, socket.SOCK_RAW, 1 if family == socket.AF_INET else 58))

# Everywhere; both families; IPv4 on an IPv6 socket.
listener(socket.AF_INET, "0.0.0.0")
listener(socket.AF_INET6, "::", only6=1)
both = listener(socket.AF_INET6, "::", only6=0)
mapped = client(both, socket.AF_INET, ("127.0.0.1", both.getsockname()[1]))
keep(both.accept()[0])

# SYN_SENT: 127.0.0.9 is silenced by the test.
silent = keep(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
silent.setblocking(False)
silent.connect_ex(("127.0.0.9", 9))

# The states that are over in a moment, kept by what the test's rules drop.
for family, own, near in ((socket.AF_INET, "127.0.0.2", "127.0.0.1"), (socket.AF_INET6, "fd07::2", "::1")):
    # Nothing but the handshake comes from the first: FIN_WAIT1 and LAST_ACK.
    # No FIN gets to the second: CLOSING and FIN_WAIT2.
    for last in "12":
        at = listener(family, own + last)
        one = keep(socket.socket(family, socket.SOCK_STREAM))
        one.bind((near, 0))
        one.connect(at.getsockname()[:2])
        two = keep(at.accept()[0])
        one.shutdown(socket.SHUT_WR)
        if last == "1":
            two.recv(1)
        two.shutdown(socket.SHUT_WR)
        if last == "2":
            one.recv(1)
    # No answer comes from the third: SYN_SENT and SYN_RECV.
    at = listener(family, own + "3")
    one = keep(socket.socket(family, socket.SOCK_STREAM))
    one.setblocking(False)
    one.bind((near, 0))
    one.connect_ex(at.getsockname()[:2])

# Unix: listening, connected, not accepted, abstract, datagrams.
for name in (sys.argv[1], "\0tracer abstract " + sys.argv[1]):
    at = keep(socket.socket(socket.AF_UNIX))
    at.bind(name)
    at.listen(3)
    one = keep(socket.socket(socket.AF_UNIX))
    one.connect(name)
    keep(at.accept()[0])
    keep(socket.socket(socket.AF_UNIX)).connect(name)
kept.extend(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
kept.extend(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))

# Packet and netlink.
keep(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
netlink = keep(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
netlink.bind((0, 1))

child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)

# A thread with a file table of its own, and in it a socket that nobody else has.
apart, done = [], threading.Event()


def thread():
    if ctypes.CDLL(None, use_errno=True).unshare(0x400) == 0:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Not one that the kernel may choose: it may choose the same for the other family.
        sock.bind(("127.0.0.1", 999))
        sock.listen(1)
        apart.append(sock.getsockname()[1])
    done.set()
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=thread, daemon=True).start()
done.wait()
print("READY", child, apart[0] if apart else 0, flush=True)
threading.Event().wait()
