//! The picture of all sockets of the host.

use std::collections::HashMap;

use super::owners::Owners;
use super::row::Row;
use crate::proc::net::Malformed;
use crate::proc::netns::Netns;

/// The sockets that exist now.
#[derive(Debug, Default)]
pub struct Picture {
    /// The sockets, in no order.
    pub rows: Vec<Row>,
    /// Their places in `rows`, in the requested order.
    pub order: Vec<u32>,
    /// Their holders.
    pub owners: Owners,
    /// The namespaces, by inode number.
    pub namespaces: HashMap<u32, Netns>,
    /// Names of devices that sockets are bound to, by namespace and index. Hostile bytes.
    pub devices: HashMap<(u32, u32), String>,
    /// The namespace of this process.
    pub own_netns: Option<u32>,
    /// Processes whose descriptors this user may not see.
    pub denied: u32,
    /// Processes whose namespace this user may not see.
    pub denied_netns: u32,
    /// Lines of /proc that no parser understood.
    pub malformed: Malformed,
    /// A sentence for each thing that is missing.
    pub gaps: Vec<String>,
    /// The sources in use, for `-v`.
    pub ways: Vec<&'static str>,
}

impl Picture {
    /// Returns the name of the device that `row` is bound to, if known.
    #[must_use]
    pub fn device(&self, row: &Row) -> Option<&str> {
        let index = row.device();
        if index == 0 { None } else { self.devices.get(&(row.netns, index)).map(String::as_str) }
    }
}

/// Returns an error with its causes, for [`Picture::gaps`].
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
