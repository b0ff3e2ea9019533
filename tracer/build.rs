fn main() { println!("cargo:rustc-env=TRACER_OBJECT={}/bpf/tracer.x86_64.o", std::env::var("CARGO_MANIFEST_DIR").unwrap()); println!("cargo:rerun-if-changed=bpf/tracer.x86_64.o"); }
