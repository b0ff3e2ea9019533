//! Answers of a kernel on a host with a veth pair, addresses, neighbours and listeners.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Reads the payloads of the messages in `src/PATH.hex`, one a line in hexadecimal.
pub(crate) fn messages(path: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/src/{path}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}
