//! The operations of an actor: one JSON object is the request, one JSON value the answer.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};

use libc::c_int;
use serde_json::{Value, json};

use super::sys::{self, Sys};
use super::{concealed, uring};
use crate::errno;

const TCP_STATES: [&str; 13] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

fn int(request: &Value, key: &str) -> Sys<c_int> {
    request[key].as_i64().and_then(|n| c_int::try_from(n).ok()).ok_or(libc::EINVAL)
}

fn size(request: &Value, key: &str) -> Sys<usize> {
    request[key].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or(libc::EINVAL)
}

fn text<'a>(request: &'a Value, key: &str) -> Sys<&'a str> {
    request[key].as_str().ok_or(libc::EINVAL)
}

fn byte(value: &Value) -> Sys<u8> {
    value.as_u64().and_then(|n| u8::try_from(n).ok()).ok_or(libc::EINVAL)
}

fn addr(request: &Value) -> Sys<SocketAddr> {
    text(request, "addr")?.parse().map_err(|_| libc::EINVAL)
}

fn flag(request: &Value, key: &str) -> bool {
    request[key].as_bool().unwrap_or(false)
}

/// The result of a call that may fail, with the local address after it.
fn outcome(fd: c_int, result: Sys<c_int>) -> Value {
    json!({
        "errno": result.err().map(errno::name),
        "local": sys::address(fd, false).ok().map(|a| a.to_string()),
    })
}

fn accepted(result: Sys<c_int>) -> Sys<Value> {
    let fd = result?;
    Ok(json!({ "fd": fd, "local": sys::address(fd, false)?.to_string(),
               "peer": sys::address(fd, true).ok().map(|a| a.to_string()) }))
}

/// Sends all of `len` bytes; returns the number that went out and the error that stopped it.
pub fn send_all(fd: c_int, len: usize) -> (usize, Option<i32>) {
    let chunk = vec![b'x'; len.clamp(1, 65536)];
    let mut sent = 0;
    while sent < len {
        match sys::send(fd, &chunk[..chunk.len().min(len - sent)]) {
            Ok(n) => sent += n,
            Err(e) => return (sent, Some(e)),
        }
    }
    (sent, None)
}

/// Receives until `len` bytes, the end of the stream or an error.
pub fn recv_up_to(fd: c_int, len: usize) -> (usize, Option<i32>) {
    let mut chunk = vec![0_u8; len.clamp(1, 65536)];
    let mut received = 0;
    while received < len {
        let want = chunk.len().min(len - received);
        match sys::recv(fd, &mut chunk[..want]) {
            Ok(0) => break,
            Ok(n) => received += n,
            Err(e) => return (received, Some(e)),
        }
    }
    (received, None)
}

fn transferred((len, error): (usize, Option<i32>)) -> Value {
    json!({ "len": len, "errno": error.map(errno::name) })
}

/// Accepts `count` connections, one after another: receives to the end of the stream, closes.
fn serve(listener: c_int, count: usize) -> Sys<Value> {
    let mut served = Vec::new();
    for _ in 0..count {
        let fd = sys::accept(listener)?;
        let mut one = accepted(Ok(fd))?;
        one["rx"] = recv_up_to(fd, usize::MAX).0.into();
        sys::close(fd)?;
        served.push(one);
    }
    Ok(Value::Array(served))
}

fn unit(result: Sys<c_int>) -> Sys<Value> {
    result.map(|_| Value::Null)
}

fn await_state(fd: c_int, name: &str) -> Sys<Value> {
    sys::until(|| Ok(TCP_STATES.get(usize::from(sys::tcp_info(fd)?.tcpi_state)) == Some(&name)))?;
    Ok(Value::Null)
}

/// Executes `request`.
pub fn run(request: &Value) -> Sys<Value> {
    let op = text(request, "op")?;
    match op {
        "who" => return Ok(Value::Null),
        "socket" => {
            let protocol = request["protocol"].as_i64().unwrap_or(0) as c_int;
            let fd = sys::socket(request["family"].as_u64().unwrap_or(4), protocol, flag(request, "nonblock"))?;
            return Ok(json!(fd));
        }
        "set_comm" => {
            // Text, or a list of bytes.
            let bytes = request["comm"].as_array().map(|bytes| bytes.iter().map(byte).collect::<Sys<Vec<u8>>>());
            let comm = bytes.unwrap_or_else(|| Ok(text(request, "comm")?.as_bytes().to_vec()))?;
            std::fs::write(format!("/proc/self/task/{}/comm", sys::thread_id()), comm)
                .map_err(|e| sys::errno_of(&e))?;
            return Ok(Value::Null);
        }
        "wait_in_connect" => return unit(concealed::wait_in_connect(size(request, "count")?, addr(request)?)),
        "set_euid" => {
            let uid = request["uid"].as_u64().and_then(|uid| u32::try_from(uid).ok()).ok_or(libc::EINVAL)?;
            return unit(sys::set_effective_user(uid));
        }
        "unix_listen" => {
            let listener = UnixListener::bind(text(request, "path")?).map_err(|e| sys::errno_of(&e))?;
            return Ok(json!(listener.into_raw_fd()));
        }
        _ => {}
    }
    let fd = int(request, "fd")?;
    match op {
        "set_option" => {
            unit(sys::set_option(fd, int(request, "level")?, int(request, "name")?, int(request, "value")?))
        }
        "linger_zero" => unit(sys::linger_zero(fd)),
        "bind" => {
            sys::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            unit(sys::bind(fd, &addr(request)?))
        }
        "listen" => {
            sys::listen(fd, int(request, "backlog")?)?;
            Ok(json!(sys::address(fd, false)?.to_string()))
        }
        "connect" => {
            let cut = request["cut"].as_u64().map(|n| n as libc::socklen_t);
            let result = sys::connect(fd, &addr(request)?, cut);
            Ok(outcome(fd, result))
        }
        "connect_unread" => {
            let result = concealed::connect_unread(fd, &addr(request)?);
            Ok(outcome(fd, result))
        }
        "try_bind" => Ok(outcome(fd, sys::bind(fd, &addr(request)?))),
        "try_listen" => Ok(outcome(fd, sys::listen(fd, 1))),
        "accept_without_descriptors" => unit(concealed::accept_without_descriptors(fd, size(request, "times")?)),
        "uring_accept_many" => uring::accept_many(fd, size(request, "count")?).map(|fds| json!(fds)),
        "connect_32" => Ok(outcome(fd, concealed::connect_32(fd, &addr(request)?))),
        "accept_32" => accepted(concealed::accept_32(fd)),
        "accept_forged" => unit(concealed::accept_forged(fd)),
        "disconnect" => Ok(outcome(fd, sys::disconnect(fd))),
        "accept" => accepted(sys::accept(fd)),
        "serve" => serve(fd, size(request, "count")?),
        "uring_connect" => {
            let result = uring::connect(fd, &addr(request)?, flag(request, "worker"));
            Ok(outcome(fd, result))
        }
        "uring_accept" => accepted(uring::accept(fd, flag(request, "worker"))),
        "send" => Ok(transferred(send_all(fd, size(request, "len")?))),
        "send_fast_open" => {
            let result = sys::send_fast_open(fd, &vec![b'x'; size(request, "len")?], &addr(request)?);
            Ok(outcome(fd, result.map(|n| n as c_int)))
        }
        "recv" => Ok(transferred(recv_up_to(fd, size(request, "len")?))),
        "recv_end" => Ok(transferred(recv_up_to(fd, usize::MAX))),
        "shutdown" => unit(sys::shutdown(fd, libc::SHUT_WR)),
        "close" => unit(sys::close(fd)),
        "await_acked" => sys::until(|| Ok(sys::queued(fd, libc::TIOCOUTQ)? == 0)).map(|()| Value::Null),
        "await_unread" => {
            let len = int(request, "len")?;
            sys::until(|| Ok(sys::queued(fd, libc::FIONREAD)? >= len)).map(|()| Value::Null)
        }
        "await_state" => await_state(fd, text(request, "state")?),
        "await_outcome" => {
            sys::poll(fd, libc::POLLOUT | libc::POLLIN)?;
            let error = sys::take_error(fd)?;
            Ok(outcome(fd, if error == 0 { Ok(0) } else { Err(error) }))
        }
        "give" => {
            let over = UnixStream::connect(text(request, "path")?).map_err(|e| sys::errno_of(&e))?;
            sys::give_descriptor(over.as_raw_fd(), fd).map(|_| Value::Null)
        }
        "take" => {
            let over = sys::accept(fd)?;
            let taken = sys::take_descriptor(over)?;
            sys::close(over)?;
            Ok(json!(taken))
        }
        _ => Err(libc::ENOSYS),
    }
}
