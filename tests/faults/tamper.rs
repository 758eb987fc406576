//! Stands before one node and spoils what it says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// What becomes of the node's replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// They pass.
    Honest,
    /// Bytes that are no replies come in their place.
    Rubbish,
    /// A line that never ends comes in their place.
    Endless,
    /// They come one byte a second.
    Drip,
}

pub(crate) struct Tamper {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
}

impl Tamper {
    pub(crate) fn before(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(AtomicU8::new(Mode::Honest as u8));
        let modes = Arc::clone(&mode);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mode = Arc::clone(&modes);
                thread::spawn(move || carry(stream, node, &mode));
            }
        });
        Self { address, mode }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }
}

fn carry(gateway: TcpStream, node: SocketAddr, mode: &AtomicU8) {
    let Ok(node) = TcpStream::connect(node) else { return };
    let _ = (gateway.set_nodelay(true), node.set_nodelay(true));
    let (mut requests, mut onward) = (gateway.try_clone().unwrap(), node.try_clone().unwrap());
    thread::spawn(move || {
        // Either side may end it.
        let _ = std::io::copy(&mut requests, &mut onward);
        let _ = onward.shutdown(Shutdown::Both);
    });
    let _ = answer(node, &gateway, mode);
    let _ = gateway.shutdown(Shutdown::Both);
}

fn answer(mut node: TcpStream, mut gateway: &TcpStream, mode: &AtomicU8) -> std::io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        let length = node.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        match mode.load(Ordering::Relaxed) {
            mode if mode == Mode::Rubbish as u8 => {
                gateway.write_all(b"\0\xff}{ HTTP/1.1 400\n\n")?
            }
            mode if mode == Mode::Endless as u8 => return endless(gateway),
            was if was == Mode::Drip as u8 => drip(gateway, &piece[..length], mode)?,
            _ => gateway.write_all(&piece[..length])?,
        }
    }
}

/// Until the gateway closes.
fn endless(mut gateway: &TcpStream) -> std::io::Result<()> {
    gateway.write_all(b"+")?;
    loop {
        gateway.write_all(&[b'x'; 4 << 10])?;
    }
}

/// Until it is told otherwise; then the rest comes at once, and nothing is missing.
fn drip(mut gateway: &TcpStream, bytes: &[u8], mode: &AtomicU8) -> std::io::Result<()> {
    for (at, byte) in bytes.iter().enumerate() {
        if mode.load(Ordering::Relaxed) != Mode::Drip as u8 {
            return gateway.write_all(&bytes[at..]);
        }
        gateway.write_all(&[*byte])?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
