//! Stands between a gateway and the nodes of a real cluster, and lets only so many requests through.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::fake::parse;
use super::gateway::Builder;
use super::{Cluster, Gateway};

/// What a gateway says to find its way, and that changes nothing: always let through, and not counted.
const HOUSEKEEPING: &[&str] =
    &["HELLO", "AUTH", "CLIENT", "CLUSTER", "INFO", "COMMAND", "PING", "READONLY"];

/// One address for each node.
pub(crate) struct Relay {
    places: Vec<(SocketAddr, SocketAddr)>,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    /// Counts the gateways. What one of them has sent is not delivered once another is there.
    generation: usize,
    /// How many requests may still pass; `None`: all.
    left: Option<usize>,
    /// A request was kept back.
    is_shut: bool,
}

impl Relay {
    pub(crate) fn before(cluster: &Cluster) -> Self {
        let gate = Arc::new(Gate::default());
        let place = |node: SocketAddr| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let place = listener.local_addr().unwrap();
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let gate = Arc::clone(&gate);
                    thread::spawn(move || gate.carry(stream, node));
                }
            });
            (node, place)
        };
        let places = cluster.addresses().into_iter().map(place).collect();
        Self { places, gate }
    }

    /// A new gateway behind this relay, which lets all pass until it is told otherwise.
    pub(crate) fn gateway(&self) -> Builder {
        let mut state = self.gate.0.lock().unwrap();
        *state = State { generation: state.generation + 1, ..State::default() };
        let seeds: Vec<SocketAddr> = self.places.iter().map(|(_, place)| *place).collect();
        self.places.iter().fold(Gateway::before_nodes(&seeds), |gateway, (node, place)| {
            gateway.setting(&format!("cluster.address_map.\"{node}\""), place.to_string())
        })
    }

    /// From now on so many requests pass, and no more.
    pub(crate) fn allow(&self, requests: usize) {
        self.gate.0.lock().unwrap().left = Some(requests);
    }

    /// Whether a request was kept back: what was allowed has passed.
    pub(crate) fn is_shut(&self) -> bool {
        self.gate.0.lock().unwrap().is_shut
    }
}

impl Gate {
    fn carry(&self, mut gateway: TcpStream, node: SocketAddr) {
        let generation = self.0.lock().unwrap().generation;
        let Ok(mut node) = TcpStream::connect(node) else { return };
        let (mut replies, mut back) = (node.try_clone().unwrap(), gateway.try_clone().unwrap());
        thread::spawn(move || {
            // Either side may end it.
            let _ = std::io::copy(&mut replies, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        let (mut buffer, mut piece) = (Vec::new(), [0; 16 << 10]);
        'open: while let Ok(length @ 1..) = gateway.read(&mut piece) {
            buffer.extend(&piece[..length]);
            while let Some((request, length)) = parse(&buffer) {
                let frame: Vec<u8> = buffer.drain(..length).collect();
                if !self.passes(generation, &request) || node.write_all(&frame).is_err() {
                    break 'open;
                }
            }
        }
        // Until the gateway goes; what it still sends is not looked at.
        while gateway.read(&mut piece).is_ok_and(|length| length > 0) {}
        let _ = node.shutdown(Shutdown::Both);
    }

    fn passes(&self, generation: usize, request: &[Vec<u8>]) -> bool {
        let mut state = self.0.lock().unwrap();
        if generation != state.generation {
            return false;
        }
        if HOUSEKEEPING.iter().any(|word| request[0].eq_ignore_ascii_case(word.as_bytes())) {
            return true;
        }
        match &mut state.left {
            None => true,
            Some(0) => {
                state.is_shut = true;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}
