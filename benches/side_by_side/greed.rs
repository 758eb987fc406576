//! A client that leaves nothing to others, for as long as these are measured.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::exchange::{Exchange, connect, request};
use crate::loads::Greed;
use crate::wait::{now, wait_until};

/// A value that takes its time.
const GIANT: usize = 64 << 20;
/// Requests that the endless pipeline writes at once.
const BATCH: usize = 1_000;
/// Bytes of a message, and the time between two.
const MESSAGE: usize = 1 << 10;
const MESSAGES: Duration = Duration::from_micros(500);
/// The listener reads so many bytes, and then nothing for so long.
const SIP: usize = 4 << 10;
const SIPS: Duration = Duration::from_millis(50);

/// Its threads. [`Greedy::end`] ends them, and so does dropping it.
pub(crate) struct Greedy {
    over: Arc<AtomicBool>,
    connections: Vec<TcpStream>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Greedy {
    /// A client of that kind, whose keys begin with `tag`.
    pub(crate) fn start(greed: Greed, address: SocketAddr, tag: &str) -> Result<Self> {
        let mut greedy =
            Self { over: Arc::new(AtomicBool::new(false)), connections: vec![], threads: vec![] };
        match greed {
            Greed::None => {}
            Greed::Pipeline => {
                let writer = greedy.connect(address)?;
                let mut reader = writer.try_clone()?;
                let requests = request(&["GET", &format!("{tag}:nothing")]).repeat(BATCH);
                greedy.repeat(move || Ok((&writer).write_all(&requests)?))?;
                let mut scratch = vec![0; 64 << 10];
                greedy.repeat(move || {
                    let count = reader.read(&mut scratch)?;
                    ensure!(count > 0, "the endless pipeline was closed");
                    let errors = scratch.iter().take(count).any(|byte| *byte == b'E');
                    ensure!(!errors, "the endless pipeline was refused");
                    Ok(())
                })?;
            }
            Greed::Giant => {
                let connection = greedy.connect(address)?;
                let (key, value) = (format!("{tag}:giant"), "v".repeat(GIANT));
                let set = Exchange::one(&["SET", &key, &value], "+OK\r\n");
                let get = Exchange::one(&["GET", &key], &format!("${GIANT}\r\n{value}\r\n"));
                greedy.repeat(move || {
                    set.run(&connection)?;
                    get.run(&connection)
                })?;
            }
            Greed::Listener => {
                let channel = format!("{tag}:news");
                let mut listener = greedy.connect(address)?;
                let told =
                    format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len());
                Exchange::one(&["SUBSCRIBE", &channel], &told).run(&listener)?;
                let mut sip = vec![0; SIP];
                greedy.repeat(move || {
                    let count = listener.read(&mut sip)?;
                    ensure!(count > 0, "the listener was closed");
                    wait_until(now() + SIPS);
                    Ok(())
                })?;
                let speaker = greedy.connect(address)?;
                let text = "m".repeat(MESSAGE);
                let message = Exchange::one(&["PUBLISH", &channel, &text], ":1\r\n");
                greedy.repeat(move || {
                    message.run(&speaker)?;
                    wait_until(now() + MESSAGES);
                    Ok(())
                })?;
            }
        }
        Ok(greedy)
    }

    /// Ends it. An error before the end means that it was not as greedy as it should be.
    pub(crate) fn end(mut self) -> Result<()> {
        let early = self.threads.iter().any(JoinHandle::is_finished);
        let ended: Result<Vec<()>> = self.stop().into_iter().collect();
        if early { ended.map(drop).context("the greedy client gave up") } else { Ok(()) }
    }

    fn connect(&mut self, address: SocketAddr) -> Result<TcpStream> {
        let connection = connect(address)?;
        self.connections.push(connection.try_clone()?);
        Ok(connection)
    }

    /// Does so over and over, until it fails or all is over.
    fn repeat(&mut self, mut act: impl FnMut() -> Result<()> + Send + 'static) -> Result<()> {
        let over = Arc::clone(&self.over);
        let thread = Builder::new().name("greedy".to_owned()).spawn(move || {
            while !over.load(Ordering::Relaxed) {
                act()?;
            }
            Ok(())
        });
        self.threads.push(thread?);
        Ok(())
    }

    fn stop(&mut self) -> Vec<Result<()>> {
        self.over.store(true, Ordering::Relaxed);
        for connection in self.connections.drain(..) {
            // It may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        let threads = self.threads.drain(..);
        threads.map(|it| it.join().unwrap_or_else(|_| Err(anyhow!("panicked")))).collect()
    }
}

impl Drop for Greedy {
    fn drop(&mut self) {
        self.stop();
    }
}
