//! The sockets by process.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{TextRows, cells};
use crate::escape::Escaped;
use crate::wrap::Paragraph;
use tracer_host::sockets::collect::Picture;

/// The column of the ends.
const ENDS: usize = 22;

/// Appends every process with the sockets that it holds, then the sockets without a known holder.
/// `shown` are places in `picture.rows`, in the order to show.
pub fn write(out: &mut Vec<u8>, picture: &Picture, shown: &[u32], rows: &TextRows) {
    let mut by_process: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut nobody = Vec::new();
    let row = |at: u32| picture.rows.get(usize::try_from(at).ok()?);
    for at in shown {
        let Some(row) = row(*at) else { continue };
        let pids = picture.owners.of(row).pids;
        for pid in pids {
            by_process.entry(*pid).or_default().push(*at);
        }
        if pids.is_empty() {
            nobody.push(*at);
        }
    }
    let mut line = String::new();
    let options = rows.options();
    let columns = if options.wide { usize::MAX } else { options.columns.get() };
    let paragraph = |first, rest| Paragraph { first, rest, columns };
    let mut block = |title: &str, sockets: &[u32], out: &mut Vec<u8>| {
        line.clear();
        paragraph(0, 2).push(&mut line, title);
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
        for at in sockets {
            let Some(row) = row(*at) else { continue };
            line.clear();
            line.push_str("  ");
            let _ = write!(line, "{:7} {:11} ", row.proto.name(), row.state.name());
            cells::local(&mut line, row, picture.device(row), rows.end());
            line.push_str(" → ");
            cells::remote(&mut line, row, picture.device(row), rows.end());
            if line.ends_with(" → *") {
                line.truncate(line.len() - " → *".len());
            }
            let first = crate::escape::width(&line);
            let mut rest = String::new();
            if row.recv_q > 0 || row.send_q > 0 {
                let _ = write!(rest, "  recv {} send {}", row.recv_q, row.send_q);
            }
            if picture.own_netns != Some(row.netns) {
                let name = picture.namespaces.get(&row.netns).and_then(|netns| netns.name.as_deref());
                let _ = match name {
                    Some(name) => write!(rest, "  netns {}", Escaped(name)),
                    None => write!(rest, "  netns {}", row.netns),
                };
            }
            if options.wide {
                cells::details(&mut rest, picture, row);
            }
            paragraph(first, ENDS).push(&mut line, &rest);
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    };
    for (pid, sockets) in &by_process {
        let owner = picture.owners.process(*pid);
        let comm = owner.map_or("?", |owner| owner.comm.as_str());
        let count = sockets.len();
        let title = format!("{}[{pid}]  {count} socket{}", Escaped(comm), if count == 1 { "" } else { "s" });
        block(&title, sockets, out);
    }
    if !nobody.is_empty() {
        block(&format!("no known holder  {}", nobody.len()), &nobody, out);
    }
}

impl TextRows {
    /// Returns the most columns of an end.
    fn end(&self) -> usize {
        /// Columns before, between and behind both ends: protocol, state, the arrow, what waits.
        const OTHERS: usize = 40;
        let options = self.options();
        if options.wide { usize::MAX } else { ((options.columns.get() - OTHERS) / 2).clamp(13, 47) }
    }
}
