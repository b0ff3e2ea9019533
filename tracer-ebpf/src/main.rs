//! The kernel side of tracer: hooks → lifecycle → records. See docs/kernel.md.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // the atomic add of `counter::add`
#![allow(non_snake_case, reason = "programs are named hook__backend")]

mod audit;
mod counter;
mod drops;
mod emit;
mod fd;
mod filter;
mod globals;
mod hooks;
mod identity;
mod iterators;
mod lane;
mod lifecycle;
mod log;
mod memory;
mod pid_ns;
mod sock;
mod sockets;
mod started;
mod syscall;
mod task;

/// The licence that the kernel checks: some helpers are for GPL programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
