//! The `tracer` command.
use tracer::{core::*, kernel::{*, load::*, btf::Btf, format::Tracefs, ring::Ring}, stream::*};
struct Open;
impl Gate for Open {
    fn admit(&self, _: &Socket<'_>) -> Admission { Admission::Pass }
    fn admit_finally(&self, _: &Socket<'_>) -> bool { true }
    fn shows(&self, _: &Kind<'_>) -> bool { true }
    fn fork(&mut self, _: u32, _: u32, _: u64) {}
    fn exit(&mut self, _: u32) {}
}
struct Print;
impl Sink for Print { fn event(&mut self, e: &Event<'_>) { println!("{} {:?} {:?}", e.boot_ns, e.kind, e.socket.map(|s| (s.conn, s.role, s.laddr, s.lport, s.raddr, s.rport, s.netns, s.owner.map(|o| (o.pid, o.tid, o.comm.clone(), o.facts.exe.clone())), s.owner_source, s.mptcp))); } }
fn main() {
    let t = std::time::Instant::now();
    let btf = Btf::read(std::path::Path::new("/sys/kernel/btf/vmlinux"), offsets::WANTED).unwrap();
    eprintln!("own btf {:?}", t.elapsed());
    let abtf = aya::Btf::from_sys_fs().unwrap();
    eprintln!("aya btf {:?}", t.elapsed());
    let tracefs = Tracefs::find(std::path::Path::new("/"));
    let r = offsets::resolve(Some(&btf), tracefs.as_ref());
    eprintln!("missing {:?} {:?}", r.missing, r.offsets);
    let mut settings = tracer_common::settings::Settings::NONE;
    settings.wake_bytes = 1 << 20;
    settings.wants = tracer_common::settings::WANT_PROCESSES;
    let plan = Plan { offsets: r.offsets, settings, selection: Default::default(), ring_bytes: 4 << 20, forced: vec![] };
    let mut kernel = Kernel::load(&plan, Some(&abtf)).unwrap();
    for c in &kernel.choices { eprintln!("{:?}", c); }
    eprintln!("tracer: ready {:?}", t.elapsed());
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let mut ring = Ring::new(kernel.ring().unwrap()).unwrap();
        let mut core = Core::new(Open);
        let quiet = std::env::var("Q").is_ok();
        loop {
            tokio::select! { r = ring.ready() => { r.unwrap(); while Ring::is_full_batch(ring.drain(|b| { let r = tracer_common::decode::decode(b).unwrap(); if quiet { struct N; impl Sink for N { fn event(&mut self, _: &Event<'_>) {} } core.apply(Input::Record(r), &mut N); } else { core.apply(Input::Record(r), &mut Print); } })) {} }
            _ = tokio::signal::ctrl_c() => break }
        }
        core.apply(Input::End { boot_ns: 0 }, &mut Print);
        eprintln!("{:?} {:?}", core.totals(), kernel.counters());
        for c in kernel.costs() { eprintln!("{c:?}"); }
    });
}
