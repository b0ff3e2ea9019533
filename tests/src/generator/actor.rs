//! The harness' end of a `traffic actor` process.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use serde_json::{Value, json};

use super::fact::Process;
use crate::netns::{self, Netns};
use crate::process::copy_program;
use crate::traffic::sys::patience;

/// The `traffic` binary: `TRACER_TRAFFIC`, else the one that cargo built beside the running test.
///
/// # Panics
/// If it does not exist.
#[must_use]
pub fn traffic_program() -> PathBuf {
    if let Some(path) = std::env::var_os("TRACER_TRAFFIC") {
        return path.into();
    }
    let this = std::env::current_exe().expect("the test has a path");
    let found = this.ancestors().skip(1).take(2).map(|dir| dir.join("traffic")).find(|path| path.is_file());
    found.expect("the traffic binary is built beside the tests (cargo test -p tracer-tests builds it)")
}

/// The generator within `netns`, with nothing on its stdin.
#[must_use]
pub fn traffic(netns: &Netns) -> Command {
    let mut command = netns.command(traffic_program());
    command.stdin(Stdio::null());
    command
}

/// Settings of a new actor.
#[derive(Clone, Debug)]
pub struct Builder<'a> {
    namespace: &'a Netns,
    comm: Option<String>,
    uid: Option<u32>,
    copy: Option<String>,
    number: Option<u32>,
    more: Vec<OsString>,
}

impl Builder<'_> {
    /// Calls its main thread `comm`.
    #[must_use]
    pub fn comm(mut self, comm: &str) -> Self {
        self.comm = Some(comm.to_owned());
        self
    }

    /// Runs as this user.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self.copy.get_or_insert_with(|| "traffic".to_owned());
        self
    }

    /// Runs a copy of the traffic binary with this name (so its `exe` differs).
    #[must_use]
    pub fn copy(mut self, name: &str) -> Self {
        self.copy = Some(name.to_owned());
        self
    }

    /// Asks the kernel for this process number. Other processes may take it first.
    #[must_use]
    pub fn number(mut self, pid: u32) -> Self {
        self.number = Some(pid);
        self
    }

    /// Adds an argument to its command line, which it ignores.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.more.push(argument.into());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(self) -> Actor {
        let path = netns::scratch().join(format!("control-{}", netns::unique()));
        let door = UnixListener::bind(&path).expect("the control socket is bound");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("its mode is set");
        let door = Door { listener: door, made: RefCell::new(vec![path.clone()]) };
        let program = self.copy.as_deref().map_or_else(traffic_program, |name| door.copy_program(name));
        let mut command = Command::new(program);
        command.arg("actor").arg(&path).args(&self.more).stdin(Stdio::null()).stdout(Stdio::null());
        let (fd, uid) = (self.namespace.descriptor(), self.uid);
        // SAFETY: only system calls are made between fork and exec.
        unsafe {
            command.pre_exec(move || {
                netns::enter(fd)?;
                if let Some(uid) = uid
                    && (libc::setgid(uid) < 0 || libc::setuid(uid) < 0)
                {
                    return Err(std::io::Error::last_os_error());
                }
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        if let Some(pid) = self.number {
            std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("the last number is set");
        }
        let child = command.spawn().expect("the traffic binary starts");
        let mut actor = Actor::answer_door(Rc::new(door));
        actor.child = Some(child);
        if let Some(comm) = &self.comm {
            actor.call(json!({ "op": "set_comm", "comm": comm }));
            actor.process = actor.call(json!({ "op": "who" })).who;
        }
        actor
    }
}

/// The socket to which an actor and its successors connect, and the files that were made for them.
struct Door {
    listener: UnixListener,
    made: RefCell<Vec<PathBuf>>,
}

impl Door {
    /// A copy of the traffic binary under another name.
    fn copy_program(&self, name: &str) -> PathBuf {
        let dir = netns::scratch().join(format!("copy-{}", netns::unique()));
        std::fs::create_dir(&dir).expect("the copy's directory is made");
        let to = dir.join(name);
        copy_program(&traffic_program(), &to);
        self.made.borrow_mut().extend([dir, to.clone()]);
        to
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        for path in self.made.borrow().iter().rev() {
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
        }
        netns::leave_scratch();
    }
}

/// A running `traffic actor`. Killed when dropped.
pub struct Actor {
    /// The process's main thread, as reported at its start.
    pub process: Process,
    door: Rc<Door>,
    child: Option<Child>,
    to: UnixStream,
    from: RefCell<BufReader<UnixStream>>,
    next: Cell<u64>,
    early: RefCell<HashMap<u64, Value>>,
}

/// The result of an operation, and the thread that ran it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The value of a successful operation.
    pub value: Value,
    /// The name of the errno of a failed one; calls that may fail have it in the value's `errno`.
    pub error: Option<String>,
    /// The thread that ran it.
    pub who: Process,
}

impl Reply {
    /// The socket's local address after the call.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.address("local").unwrap_or_else(|| panic!("no local address in {}", self.value))
    }

    /// An address in the value.
    #[must_use]
    pub fn address(&self, key: &str) -> Option<SocketAddr> {
        self.value[key].as_str().and_then(|text| text.parse().ok())
    }

    /// The new descriptor.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn fd(&self) -> i64 {
        let value = self.value.get("fd").unwrap_or(&self.value);
        value.as_i64().unwrap_or_else(|| panic!("no descriptor in {self:?}"))
    }

    /// The name of the errno of a call that may fail.
    #[must_use]
    pub fn errno(&self) -> Option<&str> {
        self.error.as_deref().or_else(|| self.value["errno"].as_str())
    }
}

/// An answer that has not come yet.
#[must_use]
pub struct Pending(u64);

/// Anything that can be written as an address.
pub trait Address {
    /// The text.
    fn text(&self) -> String;
}

impl Address for SocketAddr {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Address for &str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

impl Actor {
    /// Starts an actor in `namespace`.
    #[must_use]
    pub fn start(namespace: &Netns) -> Self {
        Self::builder(namespace).start()
    }

    /// A builder for an actor with further settings.
    #[must_use]
    pub fn builder(namespace: &Netns) -> Builder<'_> {
        Builder { namespace, comm: None, uid: None, copy: None, number: None, more: Vec::new() }
    }

    fn answer_door(door: Rc<Door>) -> Self {
        let mut wait =
            libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&door.listener), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd is passed, and it lives through the call.
        let came = unsafe { libc::poll(&raw mut wait, 1, patience().as_millis() as i32) };
        assert_eq!(came, 1, "an actor reports");
        let (to, _) = door.listener.accept().expect("an actor reports");
        to.set_read_timeout(Some(patience())).expect("a timeout is set");
        let mut from = BufReader::new(to.try_clone().expect("a socket is cloned"));
        let mut hello = String::new();
        from.read_line(&mut hello).expect("an actor says who it is");
        let hello: Value = serde_json::from_str(&hello).expect("an actor speaks JSON");
        let process = Process::from_json(&hello["who"]);
        let (from, early) = (RefCell::new(from), RefCell::new(HashMap::new()));
        Self { process, door, child: None, to, from, next: Cell::new(1), early }
    }

    /// Sends a request, and waits for the answer.
    pub fn call(&self, request: Value) -> Reply {
        let pending = self.begin(request);
        self.finish(pending)
    }

    /// Like [`Actor::call`], but a failing operation fails the test.
    ///
    /// # Panics
    /// If it failed.
    pub fn must(&self, request: Value) -> Reply {
        let reply = self.call(request.clone());
        assert_eq!(reply.error, None, "{request}");
        reply
    }

    /// Sends a request without waiting: for operations that block, in a `thread` of their own.
    pub fn begin(&self, mut request: Value) -> Pending {
        let id = self.next.get();
        self.next.set(id + 1);
        request["id"] = id.into();
        writeln!(&self.to, "{request}").expect("an actor listens");
        Pending(id)
    }

    /// Waits for the answer.
    ///
    /// # Panics
    /// If none comes.
    pub fn finish(&self, pending: Pending) -> Reply {
        let answer = loop {
            if let Some(answer) = self.early.borrow_mut().remove(&pending.0) {
                break answer;
            }
            let mut line = String::new();
            let read = self.from.borrow_mut().read_line(&mut line);
            assert!(matches!(read, Ok(n) if n > 0), "process {} gives no answer: {read:?}", self.process.pid);
            let answer: Value = serde_json::from_str(&line).expect("an actor speaks JSON");
            self.early.borrow_mut().insert(answer["id"].as_u64().expect("an answer has an id"), answer);
        };
        Reply {
            value: answer["ok"].clone(),
            error: answer["error"].as_str().map(str::to_owned),
            who: Process::from_json(&answer["who"]),
        }
    }

    /// A TCP socket of `family` (4 or 6).
    #[must_use]
    pub fn socket(&self, family: u8) -> i64 {
        self.must(json!({ "op": "socket", "family": family })).fd()
    }

    /// A UDP socket.
    #[must_use]
    pub fn datagram_socket(&self, family: u8) -> i64 {
        self.must(json!({ "op": "socket", "family": family, "protocol": libc::IPPROTO_UDP })).fd()
    }

    /// A non-blocking TCP socket.
    #[must_use]
    pub fn nonblocking_socket(&self, family: u8) -> i64 {
        self.must(json!({ "op": "socket", "family": family, "nonblock": true })).fd()
    }

    /// connect(); the caller judges its result.
    pub fn connect(&self, fd: i64, to: impl Address) -> Reply {
        self.must(json!({ "op": "connect", "fd": fd, "addr": to.text() }))
    }

    /// bind() without any option: the errno, if it fails.
    #[must_use]
    pub fn try_bind(&self, fd: i64, to: impl Address) -> Option<String> {
        let reply = self.must(json!({ "op": "try_bind", "fd": fd, "addr": to.text() }));
        reply.errno().map(str::to_owned)
    }

    /// bind(), with `SO_REUSEADDR`.
    pub fn bind(&self, fd: i64, to: impl Address) {
        self.must(json!({ "op": "bind", "fd": fd, "addr": to.text() }));
    }

    /// An integer option of `IPPROTO_TCP`.
    pub fn tcp_option(&self, fd: i64, name: i32, value: i32) {
        self.must(json!({ "op": "set_option", "fd": fd, "level": libc::IPPROTO_TCP, "name": name, "value": value }));
    }

    /// An integer option of `SOL_SOCKET`.
    pub fn socket_option(&self, fd: i64, name: i32, value: i32) {
        self.must(json!({ "op": "set_option", "fd": fd, "level": libc::SOL_SOCKET, "name": name, "value": value }));
    }

    /// An operation that needs nothing but the descriptor: `close`, `shutdown`, `linger_zero`,
    /// `await_acked`, `disconnect`, `recv_end`, `await_outcome` …
    pub fn on(&self, op: &str, fd: i64) -> Reply {
        self.must(json!({ "op": op, "fd": fd }))
    }

    /// Waits until the socket is in `state`.
    pub fn await_state(&self, fd: i64, state: &str) {
        self.must(json!({ "op": "await_state", "fd": fd, "state": state }));
    }

    /// Sends `len` bytes, all of them.
    pub fn send(&self, fd: i64, len: u64) {
        let sent = self.must(json!({ "op": "send", "fd": fd, "len": len }));
        assert_eq!(sent.value["len"], len, "{:?}", sent.value);
    }

    /// Receives exactly `len` bytes.
    pub fn recv(&self, fd: i64, len: u64) {
        let received = self.must(json!({ "op": "recv", "fd": fd, "len": len }));
        assert_eq!(received.value["len"], len, "{:?}", received.value);
    }

    /// Forks: the child is an actor with the same descriptors.
    pub fn fork(&self) -> Self {
        self.must(json!({ "op": "fork" }));
        Self::answer_door(Rc::clone(&self.door))
    }

    /// Executes a copy of the traffic binary called `name`: the same process, another program, the same descriptors.
    pub fn exec(mut self, name: &str) -> Self {
        let _ = self.begin(json!({ "op": "exec", "program": self.door.copy_program(name) }));
        let mut actor = Self::answer_door(Rc::clone(&self.door));
        actor.child = self.child.take();
        actor
    }

    /// Lets the first thread exit, while another one serves further requests.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn leave(self) -> Self {
        self.must(json!({ "op": "leave" }));
        self
    }

    /// Ends the process with exit() and waits until it is gone.
    pub fn exit(self) {
        self.must(json!({ "op": "exit" }));
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        match &mut self.child {
            Some(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            // A forked actor ends when its connection does. An actor that was replaced by exec needs no end.
            None => {
                let _ = self.to.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}
