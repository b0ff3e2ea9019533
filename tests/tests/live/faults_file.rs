//! `-o FILE`: root opens it, perhaps where other users can make files and links.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tracer_tests::agent::tracer_program;
use tracer_tests::netns::{leave_scratch, scratch};

/// Number of the user `nobody`, who called sudo.
const OTHER: u32 = 65534;

/// A directory like /tmp. Gone when dropped.
struct Sticky(PathBuf);

impl Sticky {
    fn new(name: &str) -> Self {
        let dir = scratch().join(name);
        fs::create_dir(&dir).expect("a directory is made");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).expect("its mode is set");
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Sticky {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        leave_scratch();
    }
}

/// `tracer live --json -o PATH` for a moment, as sudo starts it.
fn trace_into(path: &Path) -> Output {
    let mut command = Command::new(tracer_program());
    command.args(["live", "--json", "--duration", "1ms", "-o"]).arg(path).stdin(Stdio::null());
    command.env("SUDO_UID", OTHER.to_string()).env("SUDO_GID", OTHER.to_string()).env("SUDO_USER", "nobody");
    command.output().expect("tracer runs")
}

fn log(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn is_stream(text: &str) {
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(tracer_tests::stream::parse(last)["event"], "summary", "{text}");
}

#[test]
fn a_new_file_is_roots_alone() {
    let dir = Sticky::new("new");
    let path = dir.path("out");
    let out = trace_into(&path);
    assert!(out.status.success(), "{}", log(&out));
    let file = path.metadata().expect("the file is there");
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, 0));
    is_stream(&fs::read_to_string(&path).expect("it is read"));
    // The tracer empties a file of its own.
    let again = trace_into(&path);
    assert!(again.status.success(), "{}", log(&again));
    is_stream(&fs::read_to_string(&path).expect("it is read"));
}

#[test]
fn what_others_have_put_there_is_refused_and_left_alone() {
    let dir = Sticky::new("bait");
    let precious = dir.path("precious");
    fs::write(&precious, "precious").expect("a file is written");
    let (link, second, theirs, nowhere) =
        (dir.path("link"), dir.path("second"), dir.path("theirs"), dir.path("dangling"));
    symlink(&precious, &link).expect("a link is made");
    fs::hard_link(&precious, &second).expect("a second name is made");
    fs::write(&theirs, "theirs").expect("a file is written");
    chown(&theirs, Some(OTHER), Some(OTHER)).expect("it is given away");
    symlink(dir.path("made by root"), &nowhere).expect("a link is made");
    for (path, why) in [
        (&link, "is a symbolic link"),
        (&second, "hard link"),
        // Where fs.protected_regular is on, the kernel refuses it first.
        (&theirs, ""),
        (&nowhere, "is a symbolic link"),
    ] {
        let out = trace_into(path);
        let log = log(&out);
        assert_eq!(out.status.code(), Some(1), "{}: {log}", path.display());
        assert!(log.contains(why) && log.contains("name another file with -o"), "{log}");
        assert!(!log.contains("tracer: ready"), "the file comes first: {log}");
    }
    // A directory behind a link of another user, and behind one of root.
    let (real, by_them, by_us) = (dir.path("real"), dir.path("by them"), dir.path("by us"));
    fs::create_dir(&real).expect("a directory is made");
    symlink(&real, &by_them).expect("a link is made");
    lchown(&by_them, Some(OTHER), Some(OTHER)).expect("it is given away");
    symlink(&real, &by_us).expect("a link is made");
    let refused = trace_into(&by_them.join("out"));
    assert_eq!(refused.status.code(), Some(1), "{}", log(&refused));
    assert!(!real.join("out").exists());
    let taken = trace_into(&by_us.join("out"));
    assert!(taken.status.success() && real.join("out").exists(), "{}", log(&taken));
    assert_eq!(fs::read_to_string(&precious).expect("it is read"), "precious");
    assert_eq!(fs::read_to_string(&theirs).expect("it is read"), "theirs");
    assert!(!dir.path("made by root").exists());
}

#[test]
fn a_directory_of_another_user_leads_to_nothing_of_roots() {
    let dir = Sticky::new("theirs alone");
    let (precious, theirs) = (dir.path("precious"), dir.path("home"));
    fs::write(&precious, "precious").expect("a file is written");
    fs::create_dir(&theirs).expect("a directory is made");
    // Mode 0755: others may not write there, but its owner may.
    chown(&theirs, Some(OTHER), Some(OTHER)).expect("it is given away");
    let (link, folder) = (theirs.join("out"), theirs.join("logs"));
    symlink(&precious, &link).expect("a link is made");
    symlink(&dir.0, &folder).expect("a link is made");
    for link in [&link, &folder] {
        lchown(link, Some(OTHER), Some(OTHER)).expect("it is given away");
    }
    // A link of root in a directory of root that leads through theirs.
    let around = scratch().join("around");
    symlink(theirs.join("logs"), &around).expect("a link is made");
    let by_folder = trace_into(&folder.join("precious"));
    let by_root = trace_into(&around.join("precious"));
    fs::remove_file(&around).expect("the link is removed");
    for out in [trace_into(&link), by_folder, by_root] {
        assert_eq!(out.status.code(), Some(1), "{}", log(&out));
        assert!(log(&out).contains("symbolic link"), "{}", log(&out));
    }
    assert_eq!(fs::read_to_string(&precious).expect("it is read"), "precious");
    // A new file there is allowed: it is no link.
    let new = trace_into(&theirs.join("new"));
    assert!(new.status.success(), "{}", log(&new));
}

/// Another user could read the whole stream from a pipe, or keep the trace from beginning.
#[test]
fn a_pipe_of_another_user_is_refused_with_and_without_a_reader() {
    let dir = Sticky::new("their pipe");
    let pipe = dir.path("pipe");
    tracer_tests::netns::command("mkfifo", &[pipe.to_str().expect("it is UTF-8")]);
    chown(&pipe, Some(OTHER), Some(OTHER)).expect("it is given away");
    let refused = || {
        let out = trace_into(&pipe);
        assert_eq!(out.status.code(), Some(1), "{}", log(&out));
        assert!(log(&out).contains("belongs to another user"), "{}", log(&out));
    };
    refused();
    // Opening a pipe to read and write needs no other end.
    let mut reader = File::options().read(true).write(true).open(&pipe).expect("the pipe opens");
    refused();
    reader.write_all(b"nothing else").expect("the pipe takes it");
    let mut read = [0; 64];
    let length = reader.read(&mut read).expect("the pipe is read");
    assert_eq!(&read[..length], b"nothing else");
}

#[test]
fn the_file_comes_before_any_privilege_is_used() {
    let mut command = Command::new(tracer_program());
    command.args(["live", "-o", "/nowhere/out"]).stdin(Stdio::null()).uid(OTHER).gid(OTHER);
    let out = command.output().expect("tracer runs");
    assert_eq!(out.status.code(), Some(1));
    let log = log(&out);
    assert!(log.contains("/nowhere/out") && !log.contains("needs root"), "{log}");
}

#[test]
fn pipes_and_devices_are_written_to() {
    for path in ["/dev/stdout", "/proc/self/fd/1"] {
        let out = trace_into(Path::new(path));
        assert!(out.status.success(), "{path}: {}", log(&out));
        is_stream(&String::from_utf8_lossy(&out.stdout));
    }
    let out = trace_into(Path::new("/dev/null"));
    assert!(out.status.success(), "{}", log(&out));
    let dir = Sticky::new("fifo");
    let path = dir.path("fifo");
    tracer_tests::netns::command("mkfifo", &[path.to_str().expect("it is UTF-8")]);
    let there = path.clone();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        File::open(there).and_then(|mut fifo| fifo.read_to_string(&mut text)).expect("the pipe is read");
        text
    });
    let out = trace_into(&path);
    assert!(out.status.success(), "{}", log(&out));
    is_stream(&reader.join().expect("the reader ends"));
}
