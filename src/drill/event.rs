//! What happens to the shard: a replica takes over in order, or its primary is killed.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use crate::backend::connect::Conversation;
use crate::launch::RunningNode;
use crate::resp::Value;
use crate::survey::{Shard, Surveyor};

use super::Options;

/// A replica gives up taking over after five seconds.
const TAKE_OVER: Duration = Duration::from_secs(6);
/// How often it is asked.
const ATTEMPTS: usize = 3;
/// Time for the others to notice that a primary has died, to choose another one and to serve again.
const SERVE_AGAIN: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(10);
/// Most bytes in the answer to `CLUSTER FAILOVER`.
const ANSWER_BYTES: usize = 64 << 10;

/// What is to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A replica takes over from a primary that lives, without loss.
    TakeOver {
        /// The replica's address.
        by: String,
        /// The primary's.
        from: String,
    },
    /// The primary's process ends.
    Kill(RunningNode),
}

impl Event {
    /// What can be done to the shard as it is now.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) async fn plan(
        shard: &Shard,
        surveyor: &Surveyor,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let from = shard.primary.address.to_string();
        if options.kill {
            let dir = options.dir.as_deref().unwrap_or(Path::new(""));
            return Ok(Self::Kill(RunningNode::find(dir, &from)?));
        }
        match surveyor.replica_in_step(shard).await {
            Ok(replica) => Ok(Self::TakeOver { by: replica.address.to_string(), from }),
            Err(why) => bail!("shard {} cannot fail over: {why}", shard.number),
        }
    }

    /// One word, for scripts.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::TakeOver { .. } => "failover",
            Self::Kill(_) => "kill",
        }
    }

    /// Lets it happen, and waits until the shard is served again. Says who is its primary then.
    ///
    /// # Errors
    /// It was refused, or did not come to an end in time.
    pub(super) async fn happen(
        &self,
        shard: &Shard,
        surveyor: &Surveyor,
    ) -> anyhow::Result<String> {
        match self {
            Self::TakeOver { by, .. } => take_over(by, surveyor).await,
            Self::Kill(node) => {
                node.kill()?;
                let nodes: Vec<&str> = shard.nodes().map(|node| &*node.address).collect();
                let served = wait(&nodes, surveyor, SERVE_AGAIN).await;
                served.with_context(|| format!("the shard is not served after {SERVE_AGAIN:?}"))
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakeOver { by, from } => write!(f, "{by} takes over from {from}"),
            Self::Kill(node) => write!(f, "{node} is killed"),
        }
    }
}

/// Asks a replica to take over. On a busy machine it may not get its votes in time, and has to be asked again.
async fn take_over(by: &str, surveyor: &Surveyor) -> anyhow::Result<String> {
    for _ in 0..ATTEMPTS {
        let mut talk = Conversation::open(by, surveyor.handshake(), ANSWER_BYTES).await?;
        let [reply] = talk.ask([&["CLUSTER", "FAILOVER"]]).await?;
        let refusal = Value::parse(&reply)?.as_error().map(String::from_utf8_lossy);
        let taken = wait(&[by], surveyor, TAKE_OVER).await;
        match (taken, refusal) {
            (Some(new), _) => return Ok(new),
            (None, Some(error)) => bail!("{by} refuses to take over: {error}"),
            (None, None) => {}
        }
    }
    bail!("{by} did not take over, although it was asked {ATTEMPTS} times")
}

/// The first of the nodes that is a primary and serves.
async fn wait(nodes: &[&str], surveyor: &Surveyor, patience: Duration) -> Option<String> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        for node in nodes {
            let state = surveyor.state(node).await;
            if state.is_ok_and(|state| state.is_primary && state.is_serving) {
                return Some((*node).to_owned());
            }
        }
        sleep(LOOK).await;
    }
    None
}
