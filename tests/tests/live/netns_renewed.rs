//! `--netns NAME` where another namespace gets the name while the trace runs.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;
use tracer_tests::agent::{Agent, run_to_end};
use tracer_tests::netns::{Netns, command};
use tracer_tests::traffic::sys::until;

/// A name of namespaces. The last one with the name is deleted when this is dropped.
struct Name(String);

impl Name {
    /// Makes a namespace with a new name.
    fn new(of: &str) -> Self {
        let name = Self(format!("tracer-renewed-{of}-{}", std::process::id()));
        name.renew();
        name
    }

    /// Gives the name to a new namespace; returns its inode, and a descriptor that keeps it.
    fn renew(&self) -> (u64, File) {
        command("ip", &["netns", "add", &self.0]);
        command("ip", &["-n", &self.0, "link", "set", "lo", "up"]);
        let file = File::open(format!("/run/netns/{}", self.0)).expect("it has a name");
        (file.metadata().expect("it has an inode").ino(), file)
    }

    fn delete(&self) {
        command("ip", &["netns", "del", &self.0]);
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// Makes a connection that is refused at `port`, in a namespace that has or had a name.
fn refused(namespace: &File, port: u16) {
    let fd = namespace.as_raw_fd();
    std::thread::scope(|scope| {
        let attempt = scope.spawn(move || {
            // SAFETY: takes no pointers; only this thread moves.
            assert_eq!(unsafe { libc::setns(fd, libc::CLONE_NEWNET) }, 0, "the namespace is entered");
            std::net::TcpStream::connect(("127.0.0.1", port)).expect_err("there is no listener");
        });
        attempt.join().expect("it is refused");
    });
}

fn says(agent: &Agent, words: &str) {
    let heard = until(|| Ok(agent.log().contains(words)));
    assert_eq!(heard, Ok(()), "{words}: {}", agent.log());
}

fn is_end(event: &Value, port: u16) -> bool {
    event["event"] == "close" && event["rport"] == port
}

#[test]
fn a_namespace_made_anew_under_its_name_is_followed() {
    let name = Name::new("anew");
    let first = File::open(format!("/run/netns/{}", name.0)).expect("it has a name");
    let agent = Agent::live(&["--netns", &name.0]);
    refused(&first, 9);
    agent.wait_for("the end in the first", |event| is_end(event, 9));
    name.delete();
    // A descriptor keeps the first one alive: the second gets another inode.
    let (inode, second) = name.renew();
    says(&agent, &format!("is another one now, with number {inode}"));
    refused(&second, 10);
    agent.wait_for("the end in the second", |event| is_end(event, 10) && event["netns"] == inode);
    // Once more, with a time in between in which no namespace has the name.
    name.delete();
    says(&agent, "is gone");
    let (third_inode, third) = name.renew();
    says(&agent, &format!("is another one now, with number {third_inode}"));
    refused(&third, 11);
    agent.wait_for("the end in the third", |event| is_end(event, 11) && event["netns"] == third_inode);
    // The filter does not match a namespace that has lost the name.
    let others = Netns::new();
    refused(&first, 12);
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let summary = ended.stream.summary();
    assert_eq!(summary["incomplete"]["namespaces_renewed"], 2, "{summary}");
    assert_eq!(ended.stream.kind("close").count(), 3, "{:?}", ended.stream.events);
    assert_eq!(ended.stream.of_netns(others.inode()).count(), 0);
}

/// `!NAME` leaves out the new namespace, and no longer the old one.
#[test]
fn a_name_that_is_not_wanted_is_followed_too() {
    let name = Name::new("not");
    let first = File::open(format!("/run/netns/{}", name.0)).expect("it has a name");
    let agent = Agent::live(&["--netns", &format!("!{}", name.0), "--event", "close"]);
    name.delete();
    let (inode, second) = name.renew();
    says(&agent, &format!("is another one now, with number {inode}"));
    refused(&second, 9);
    // A moment later the trace has events of the first one, too.
    let told = until(|| {
        refused(&first, 10);
        Ok(agent.settles_now(|events| events.iter().any(|event| is_end(event, 10))))
    });
    assert_eq!(told, Ok(()), "{}", agent.log());
    let ended = agent.stop();
    assert_eq!(ended.stream.of_netns(inode).count(), 0, "{:?}", ended.stream.events);
}

/// A path may name a namespace. The tracer refuses paths of other files, and does not wait for a pipe.
#[test]
fn what_is_no_namespace_is_refused() {
    let directory = std::env::temp_dir().join(format!("tracer-no-netns-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a directory");
    let (fifo, file) = (directory.join("fifo"), directory.join("file"));
    command("mkfifo", &[fifo.to_str().expect("a path")]);
    File::create(&file).expect("a file");
    for path in [&fifo, &file, &directory] {
        let path = path.to_str().expect("a path");
        let (status, _, said) = run_to_end(&["live", "--netns", path, "--duration", "10ms"]);
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("no such network namespace"), "{said}");
    }
    std::fs::remove_dir_all(&directory).expect("it goes");
}
