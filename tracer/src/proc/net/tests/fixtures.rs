//! Files of four kernels with the same network: a veth pair, addresses, routes, neighbours, a few
//! connections. (The newest one without the connections.)

/// The kernels, and where the file `name` of each is.
pub(super) fn each(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proc/net/fixtures");
    ["linux-5.10", "linux-6.1", "linux-6.12", "linux-6.18"]
        .into_iter()
        .filter_map(|kernel| Some((kernel, std::fs::read(dir.join(kernel).join(name)).ok()?)))
        .collect()
}

/// Messages of netlink, one a line in hexadecimal.
pub(super) fn messages(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/src/proc/net/fixtures/netlink/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}
