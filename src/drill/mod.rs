//! Tests failover on a living cluster: one shard at a time changes its primary while clients of our own read and write,
//! and what they saw is reported.
//!
//! ```text
//! run        which shards, what will happen, is it wanted     mod.rs
//!   Event      a planned failover, or a kill                   event.rs
//!   Crew       the clients that measure                         crew.rs
//!     Client     one connection that reads and writes one key   client.rs
//!     Seen       what they saw, before, during and after        seen.rs
//! Report     for people and for scripts                        report.rs
//! ```
//!
//! Nothing is changed but who is primary, and keys under a prefix that expire by themselves.

mod client;
mod crew;
mod event;
mod report;
mod seen;

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use futures_util::future::join_all;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Instant, sleep};

use crate::backend::connect::{Credentials, Handshake};
use crate::config::{self, Settings};
use crate::survey::{Shard, Survey, Surveyor};

use client::Door;
use crew::Crew;
use event::Event;
use seen::Phases;

pub use report::Report;

/// Time for a shard to have all its replicas in step again.
const WHOLE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// What to test, and how.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The shard: its number, or its primary's address or id; without it, all of them in turn.
    #[arg(long, value_name = "SHARD")]
    pub shard: Option<String>,
    /// Measure through this gateway, with the password that the settings have for clients; without it, as a client of
    /// the cluster does that follows redirections.
    #[arg(long, value_name = "HOST:PORT")]
    pub gateway: Option<String>,
    /// Believe the gateway, which then speaks TLS, by the authorities in this file.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    pub gateway_ca: Option<PathBuf>,
    /// Kill the primary's process instead of asking a replica to take over; only nodes that `slotway up` runs in --dir.
    #[arg(long, requires = "dir")]
    pub kill: bool,
    /// The folder of `slotway up`.
    #[arg(long, value_name = "DIR", requires = "kill")]
    pub dir: Option<PathBuf>,
    /// Seconds to measure before, and again afterwards.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// What the keys of the measuring clients begin with.
    #[arg(long, value_name = "TEXT", default_value = "slotway:drill")]
    pub prefix: String,
    /// Do not ask whether to go on.
    #[arg(long)]
    pub yes: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs the drill on the cluster of the settings.
///
/// # Errors
/// It cannot be done, or is not wanted; what was begun is over.
pub fn run(settings: Settings, options: &Options) -> anyhow::Result<Report> {
    ensure!(!options.prefix.contains('{'), "--prefix has a brace, which would choose the slot");
    let gateway = options.gateway.as_ref().map(|at| door_of(at, &settings, options)).transpose()?;
    let map = Rc::new(settings.cluster.address_map.clone());
    let patience = settings.backend.request_timeout;
    let drill = Drill { surveyor: Surveyor::new(settings)?, gateway, map, patience, options };
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(drill.run())
}

/// The gateway's door, for the default user of its settings.
fn door_of(gateway: &str, settings: &Settings, options: &Options) -> anyhow::Result<Door> {
    let tls = options.gateway_ca.as_ref().map(|file| config::Cluster {
        tls: true,
        tls_ca_file: file.to_string_lossy().into_owned(),
        ..config::Cluster::default()
    });
    let mut credentials = Credentials::load(&tls.unwrap_or_default())?;
    credentials.password = settings.auth.password.clone();
    Ok(Door {
        addresses: vec![gateway.into()],
        handshake: Handshake::control(credentials, settings.backend.request_timeout),
        map: Rc::default(),
    })
}

struct Drill<'a> {
    surveyor: Surveyor,
    /// The gateway's door, if one is to be measured.
    gateway: Option<Door>,
    /// Announced addresses to those that can be dialled.
    map: Rc<BTreeMap<String, String>>,
    /// How long a client waits for one answer.
    patience: Duration,
    options: &'a Options,
}

impl Drill<'_> {
    async fn run(&self) -> anyhow::Result<Report> {
        let survey = self.surveyor.look().await?;
        let chosen = self.choose(&survey)?;
        let mut plan = String::new();
        for shard in &chosen {
            let event = Event::plan(shard, &self.surveyor, self.options).await?;
            plan += &format!(
                "shard {} (slots {}): {event}\n",
                shard.number,
                shard.slot_list().join(" ")
            );
        }
        plan += &self.how();
        self.confirm(&plan)?;
        let mut report = Report::default();
        for shard in chosen {
            let control = survey.shards.iter().find(|other| other.number != shard.number);
            report.drills.push(self.one(shard, control).await?);
        }
        Ok(report)
    }

    fn choose<'s>(&self, survey: &'s Survey) -> anyhow::Result<Vec<&'s Shard>> {
        let Some(name) = &self.options.shard else { return Ok(survey.shards.iter().collect()) };
        let shard = survey.shard(name).with_context(|| {
            let known = survey.shards.iter();
            let known = known.map(|shard| format!("{} ({})", shard.number, shard.primary.address));
            format!("there is no shard {name}; there are {}", known.collect::<Vec<_>>().join(", "))
        })?;
        Ok(vec![shard])
    }

    /// What clients do meanwhile, in words.
    fn how(&self) -> String {
        let way = self.options.gateway.as_ref().map_or_else(
            || "as clients of the cluster".to_owned(),
            |gateway| format!("through the gateway {gateway}"),
        );
        let Options { seconds, prefix, .. } = self.options;
        format!(
            "clients of the shard and of another one read and write {way}, keys {prefix}:*, \
             {seconds} s before and {seconds} s after\n"
        )
    }

    fn confirm(&self, plan: &str) -> anyhow::Result<()> {
        let mut terminal = std::io::stderr();
        write!(terminal, "{plan}")?;
        if self.options.yes {
            return Ok(());
        }
        let input = std::io::stdin();
        ensure!(
            input.is_terminal(),
            "nobody can be asked whether to go on: run it on a terminal, or with --yes"
        );
        write!(terminal, "Go on? [y/N] ")?;
        terminal.flush()?;
        let mut answer = String::new();
        input.lock().read_line(&mut answer)?;
        ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was done");
        Ok(())
    }

    async fn one(&self, shard: &Shard, control: Option<&Shard>) -> anyhow::Result<report::Drill> {
        let crew =
            Crew::start(&self.options.prefix, [Some(shard), control], |shard| self.door(shard));
        let change = self.cause(shard, &crew).await;
        let [drilled, control] = crew.finish().await;
        let change = change.with_context(|| format!("shard {}", shard.number))?;
        Ok(report::Drill {
            shard: shard.number,
            slots: shard.slot_list(),
            former: shard.primary.address.to_string(),
            is_whole: self.is_whole_again(shard).await,
            change,
            drilled,
            control,
        })
    }

    /// Where clients of the shard knock.
    fn door(&self, shard: &Shard) -> Door {
        self.gateway.clone().unwrap_or_else(|| Door {
            addresses: shard.nodes().map(|node| node.address.clone()).collect(),
            handshake: Handshake { timeout: self.patience, ..self.surveyor.handshake().clone() },
            map: self.map.clone(),
        })
    }

    /// Lets it happen, with time to measure before and after.
    async fn cause(&self, shard: &Shard, crew: &Crew) -> anyhow::Result<Change> {
        let time = Duration::from_secs(self.options.seconds);
        sleep(time).await;
        if let Some(trouble) = crew.trouble() {
            bail!("nothing was done, for the measuring clients do not work: {trouble}");
        }
        // Once more, for who is in step may have changed since it was planned.
        let event = Event::plan(shard, &self.surveyor, self.options).await?;
        let began = crew.clock();
        let new = event.happen(shard, &self.surveyor).await?;
        let phases = Phases { began, ended: crew.clock() };
        sleep(time).await;
        Ok(Change { event: event.name(), new, phases })
    }

    /// Waits until the shard has one primary that serves, and all others are its replicas in touch.
    async fn is_whole_again(&self, shard: &Shard) -> bool {
        let nodes: Vec<_> = shard.nodes().map(|node| &*node.address).collect();
        let deadline = Instant::now() + WHOLE;
        while Instant::now() < deadline {
            let states = join_all(nodes.iter().map(|node| self.surveyor.state(node))).await;
            let serving = states.iter().flatten().filter(|one| one.is_primary && one.is_serving);
            let linked = states.iter().flatten().filter(|one| !one.is_primary && one.is_linked);
            if (serving.count(), linked.count()) == (1, nodes.len() - 1) {
                return true;
            }
            sleep(LOOK).await;
        }
        false
    }
}

/// What happened to a shard.
#[derive(Debug)]
struct Change {
    event: &'static str,
    /// The primary's address afterwards.
    new: String,
    phases: Phases,
}
