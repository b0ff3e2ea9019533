//! Files of four kernels with the same network: a veth pair, addresses, routes, neighbours, a few
//! connections (but for the newest kernel).

/// Reads the file `name` of each kernel.
pub(super) fn each(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proc/net/fixtures");
    ["linux-5.10", "linux-6.1", "linux-6.12", "linux-6.18"]
        .into_iter()
        .filter_map(|kernel| Some((kernel, std::fs::read(dir.join(kernel).join(name)).ok()?)))
        .collect()
}
