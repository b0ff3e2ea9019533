//! `traffic actor SOCKET`: executes the harness's requests over a Unix socket, one JSON object per line; every answer
//! names the process and thread that did it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{ops, sys};
use crate::errno;

type Writer = Arc<Mutex<UnixStream>>;

/// The calling process and thread, as `{pid, tid, comm, name, exe, uid}`.
#[must_use]
pub fn who() -> Value {
    let tid = sys::thread_id();
    let comm = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let exe = std::fs::read_link("/proc/thread-self/exe").unwrap_or_default();
    json!({
        "pid": std::process::id(), "tid": tid, "comm": comm.trim_end_matches('\n'), "name": name.trim_end_matches('\n'),
        "exe": exe.to_string_lossy(), "uid": sys::user_id(),
    })
}

fn answer(writer: &Writer, request: &Value, result: Result<Value, i32>) {
    let mut line = json!({ "id": request["id"], "who": who() });
    match result {
        Ok(value) => line["ok"] = value,
        Err(e) => line["error"] = errno::name(e).into(),
    }
    // A harness that has gone needs no answer.
    let _ = writeln!(writer.lock().unwrap(), "{line}");
}

fn worker(writer: &Writer) -> Sender<Value> {
    let (sender, receiver) = channel::<Value>();
    let writer = Arc::clone(writer);
    std::thread::spawn(move || {
        for request in receiver {
            answer(&writer, &request, ops::run(&request));
        }
    });
    sender
}

/// Serves requests until the harness goes away.
///
/// # Errors
/// If the harness cannot be reached.
pub fn run(path: &str) -> std::io::Result<()> {
    let stream = UnixStream::connect(path)?;
    let writer: Writer = Arc::new(Mutex::new(stream.try_clone()?));
    answer(&writer, &json!({ "id": 0 }), Ok(Value::Null));
    serve(path, BufReader::new(stream).lines(), writer, HashMap::new())
}

fn serve(
    path: &str,
    mut lines: Lines<BufReader<UnixStream>>,
    writer: Writer,
    mut threads: HashMap<String, Sender<Value>>,
) -> std::io::Result<()> {
    while let Some(line) = lines.next() {
        let request: Value = serde_json::from_str(&line?)?;
        if let Some(name) = request["thread"].as_str() {
            let thread = threads.entry(name.to_owned()).or_insert_with(|| worker(&writer));
            thread.send(request).expect("a worker takes requests for ever");
            continue;
        }
        match request["op"].as_str() {
            Some("fork") => {
                // SAFETY: the child only goes on with its own connection to the harness; locks that
                // other threads may hold at this moment are not taken by it (glibc resets malloc's).
                let child = unsafe { libc::fork() };
                if child == 0 {
                    let code = i32::from(run(path).is_err());
                    // SAFETY: ends the child without running the parent's exit handlers.
                    unsafe { libc::_exit(code) };
                }
                answer(&writer, &request, if child < 0 { Err(errno::last()) } else { Ok(json!(child)) });
            }
            Some("exec") => {
                let program = request["program"].as_str().unwrap_or_default();
                let error = Command::new(program).args(["actor", path]).exec();
                answer(&writer, &request, Err(sys::errno_of(&error)));
            }
            // The first thread exits, another one continues.
            Some("leave") => {
                let path = path.to_owned();
                std::thread::spawn(move || {
                    let left = sys::until(|| Ok(sys::has_left(std::process::id())));
                    answer(&writer, &request, left.map(|()| Value::Null));
                    std::process::exit(i32::from(serve(&path, lines, writer, threads).is_err()));
                });
                sys::exit_thread();
            }
            Some("exit") => {
                answer(&writer, &request, Ok(Value::Null));
                std::process::exit(0);
            }
            _ => answer(&writer, &request, ops::run(&request)),
        }
    }
    Ok(())
}
