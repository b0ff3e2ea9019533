//! tracefs `format` files: the offsets of the fields of a classic tracepoint.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, mount};

/// The fields of one tracepoint.
#[derive(Debug, Default, Clone)]
pub struct Format(Vec<(String, u32)>);

impl Format {
    /// Parses the text of a `format` file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let field = |line: &str| {
            let rest = line.trim().strip_prefix("field:")?;
            let mut parts = rest.split(';');
            let name = parts.next()?.rsplit([' ', '*']).next()?;
            let name = name.split('[').next()?.to_owned();
            let offset = parts.find_map(|part| part.trim().strip_prefix("offset:"))?.parse().ok()?;
            Some((name, offset))
        };
        Self(text.lines().filter_map(field).collect())
    }

    /// Offset of a field, in bytes.
    #[must_use]
    pub fn offset(&self, field: &str) -> Option<u32> {
        self.0.iter().find(|(name, _)| name == field).map(|(_, offset)| *offset)
    }
}

/// The usual places of tracefs.
const PLACES: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];

/// A mounted tracefs.
#[derive(Debug, Clone)]
pub struct Tracefs(PathBuf);

impl Tracefs {
    /// The tracefs that is mounted at one of its two usual places, or below the `root` of a test.
    #[must_use]
    pub fn find(root: &Path) -> Option<Self> {
        PLACES.iter().map(|path| root.join(path)).find(|path| path.join("events").is_dir()).map(Self)
    }

    /// Whether it is mounted and closed to this process (`CAP_DAC_READ_SEARCH`).
    #[must_use]
    pub fn is_closed(root: &Path) -> bool {
        let events = |path: &&str| fs::metadata(root.join(path).join("events"));
        PLACES.iter().any(|path| events(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied))
    }

    /// The fields of `category:name`; `None` if this kernel has no such tracepoint.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn format(&self, category: &str, name: &str) -> io::Result<Option<Format>> {
        match fs::read_to_string(self.0.join("events").join(category).join(name).join("format")) {
            Ok(text) => Ok(Some(Format::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Mounts tracefs at its usual place, if it is not mounted: aya attaches classic tracepoints through it.
///
/// # Errors
/// The error of mount(2).
pub fn mount_tracefs() -> io::Result<()> {
    Ok(mount("tracefs", "/sys/kernel/tracing", "tracefs", MountFlags::empty(), None)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use tracer_fuzz::fuzz;

    const ENTER: &str = "name: sys_enter_connect\nID: 2230\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:int fd;\toffset:16;\tsize:8;\tsigned:0;\n\
        \tfield:struct sockaddr * uservaddr;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;\n\
        print fmt: \"fd: 0x%08lx\"";

    #[test]
    fn fields_are_found_by_name() {
        let format = Format::parse(ENTER);
        assert_eq!(format.offset("fd"), Some(16));
        assert_eq!(format.offset("uservaddr"), Some(24));
        assert_eq!(format.offset("saddr_v6"), Some(40));
        assert_eq!(format.offset("nothing"), None);
    }

    #[test]
    fn garbage_has_no_more_fields_than_lines() {
        fuzz(&[ENTER.as_bytes().to_vec()], |input| {
            let text = String::from_utf8_lossy(input);
            assert!(Format::parse(&text).0.len() <= text.lines().count(), "{input:?}");
        });
    }

    #[test]
    fn a_missing_tracepoint_is_no_error() {
        let Some(tracefs) = Tracefs::find(Path::new("/")) else { return };
        assert!(tracefs.format("sock", "no_such_tracepoint").unwrap().is_none());
    }
}
