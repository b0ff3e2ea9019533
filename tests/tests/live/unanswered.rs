//! Connections that end without an awaited answer, and others that only resemble them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tracer_tests::agent::{Agent, Ended};
use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::netns::Netns;

/// Longer than the second after which a client counts as waiting.
const PATIENCE: Duration = Duration::from_millis(1200);

struct Scene {
    ns: Netns,
    listener: TcpListener,
    agent: Agent,
}

impl Scene {
    fn new(args: &[&str]) -> Self {
        let ns = Netns::new();
        let listener = ns.within(|| TcpListener::bind("127.0.0.1:0").expect("it listens"));
        let agent = Agent::live(&[&["--netns", ns.name()], args].concat());
        Self { ns, listener, agent }
    }

    /// Both ends of a new connection: client and server.
    fn pair(&self) -> (TcpStream, TcpStream) {
        let to = self.listener.local_addr().expect("an address");
        let client = self.ns.within(|| TcpStream::connect(to).expect("it connects"));
        let (server, _) = self.listener.accept().expect("it accepts");
        client.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        (client, server)
    }

    /// Waits for `n` closes of clients and of servers; returns them by role.
    fn closes(self, n: usize) -> ([Vec<Value>; 2], Ended) {
        let all = |events: &[Value], role: &str| {
            let is = |e: &&Value| e["event"] == "close" && e["role"] == role;
            events.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        self.agent.settles(|events| all(events, "client").len() >= n && all(events, "server").len() >= n);
        let ended = self.agent.stop();
        let closes = ["client", "server"].map(|role| all(&ended.stream.events, role));
        (closes, ended)
    }
}

/// Reads like a client with a time limit, and gets no data.
fn waits(client: &mut TcpStream) {
    let nothing = client.read(&mut [0; 16]).expect_err("nothing comes");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_request_without_an_answer_is_said_to_be_one() {
    let scene = Scene::new(&[]);
    let (mut client, mut server) = scene.pair();
    client.write_all(b"request").expect("it sends");
    server.read_exact(&mut [0; 7]).expect("it comes");
    waits(&mut client);
    drop(client);
    // Only then does the other end close: two FINs that cross are `closed_both`.
    assert_eq!(server.read(&mut [0; 1]).expect("the end comes"), 0);
    drop(server);
    let ([clients, servers], ended) = scene.closes(1);
    let keys = |close: &Value| json!([close["verdict"], close["unanswered"], close["unacked_bytes"]]);
    assert_eq!(keys(&clients[0]), json!(["closed_local", true, 0]), "{}", clients[0]);
    // A tick is 10 ms at the most.
    let idle = clients[0]["idle_us"].as_u64().expect("a time");
    assert!(idle >= 1_180_000, "{}", clients[0]);
    assert_eq!(servers[0]["unanswered"], false, "{}", servers[0]);
    assert_eq!(ended.stream.summary()["unanswered"], 1, "{}", ended.stream.summary());
}

#[test]
fn failed_shows_what_was_not_answered_and_nothing_else() {
    let scene = Scene::new(&["--failed"]);
    // Sends and closes, like syslog.
    let (mut at_once, mut server) = scene.pair();
    at_once.write_all(b"message").expect("it sends");
    server.read_exact(&mut [0; 7]).expect("it comes");
    drop((at_once, server));
    // Sends nothing and waits, like a health check.
    let (mut silent, server) = scene.pair();
    waits(&mut silent);
    drop((silent, server));
    // Gets an answer, and stays open.
    let (mut kept, mut server) = scene.pair();
    kept.write_all(b"request").expect("it sends");
    server.read_exact(&mut [0; 7]).expect("it comes");
    server.write_all(b"answer").expect("it answers");
    kept.read_exact(&mut [0; 6]).expect("it comes");
    waits(&mut kept);
    drop((kept, server));
    // Half closed like by `nc -N`, without an answer.
    let (mut half, mut server) = scene.pair();
    half.write_all(b"request").expect("it sends");
    server.read_exact(&mut [0; 7]).expect("it comes");
    half.shutdown(Shutdown::Write).expect("it shuts down");
    waits(&mut half);
    let port = half.local_addr().expect("an address").port();
    drop((half, server));
    let Scene { agent, ns, .. } = scene;
    agent.wait_for("its close", |e| e["event"] == "close" && e["netns"] == ns.inode());
    let ended = agent.stop();
    let shown: Vec<&Value> = ended.stream.kind("close").collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!((&shown[0]["lport"], &shown[0]["unanswered"]), (&json!(port), &json!(true)), "{shown:?}");
}

#[test]
fn the_second_request_may_be_the_one_without_an_answer() {
    let scene = Scene::new(&[]);
    let (mut client, mut server) = scene.pair();
    client.write_all(b"request").expect("it sends");
    server.read_exact(&mut [0; 7]).expect("it comes");
    server.write_all(b"answer").expect("it answers");
    client.read_exact(&mut [0; 6]).expect("it comes");
    // Between the two is more than a tick.
    waits(&mut client);
    client.write_all(b"request").expect("it sends");
    waits(&mut client);
    // The server has not read it, and answers the FIN with RST.
    drop((client, server));
    let ([clients, _], _) = scene.closes(1);
    assert_eq!(clients[0]["unanswered"], true, "{}", clients[0]);
}

/// A server that hangs up leaves a request without an answer; one that has answered before does not.
#[test]
fn a_server_that_hangs_up_has_not_answered() {
    let scene = Scene::new(&[]);
    let ends = [false, true].map(|answers| {
        let (mut client, mut server) = scene.pair();
        client.write_all(b"request").expect("it sends");
        server.read_exact(&mut [0; 7]).expect("it comes");
        waits(&mut client);
        if answers {
            server.write_all(b"answer").expect("it answers");
            client.read_exact(&mut [0; 6]).expect("it comes");
        }
        server.shutdown(Shutdown::Write).expect("it hangs up");
        assert_eq!(client.read(&mut [0; 16]).expect("the end comes"), 0);
        let port = client.local_addr().expect("an address").port();
        drop((client, server));
        port
    });
    let ([clients, _], _) = scene.closes(2);
    let of = |port: u16| clients.iter().find(|e| e["lport"] == port).expect("a close");
    let keys = ends.map(|port| json!([of(port)["verdict"], of(port)["unanswered"]]));
    assert_eq!(keys, [json!(["closed_remote", true]), json!(["closed_remote", false])], "{clients:?}");
}

#[test]
fn bytes_that_were_never_acknowledged_are_counted_on_either_side() {
    let (near, far) = Netns::pair();
    let (client, server) = (Actor::start(&near), Actor::start(&far));
    let listener = Listener::open(&server, &far, "10.7.0.2:0");
    let agent = Agent::live(&["--netns", far.name()]);
    let pair = Pair::open(&client, &near, &listener);
    let mut first = pair;
    first.server_sends(10);
    first.await_acked();
    server.tcp_option(first.server_fd, libc::TCP_USER_TIMEOUT, 1000);
    near.nft_rule("input", "ip saddr 10.7.0.2 drop");
    server.send(first.server_fd, 120);
    server.await_state(first.server_fd, "CLOSE");
    let netns = far.inode();
    let close = agent.wait_for("the close", |e| e["event"] == "close" && e["netns"] == netns && e["role"] == "server");
    let keys = json!([close["verdict"], close["tx_bytes"], close["unacked_bytes"], close["unanswered"]]);
    assert_eq!(keys, json!(["timed_out", 10, 120, true]), "{close}");
}
