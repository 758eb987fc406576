//! Backups of a whole cluster, in a folder or in object storage, and clusters made of them.
//!
//! ```text
//! run          one command of `slotway backup`                      mod.rs
//!   take         every shard's data, then the manifest               take.rs
//!     Transfer     the servers' replication protocol                 transfer.rs
//!     Proof        sums, and what the data says of itself            proof.rs, rdb.rs
//!   Manifest     what a backup holds, and by what that is proven     manifest.rs
//!   verify       reads it all again                                  verify.rs
//!   Retention    which backups have had their time                   retention.rs
//!   Store        a folder or object storage                          store.rs
//! restore      a new local cluster with a backup's data             restore.rs
//!   likeness     whether it has all of that, key by key              likeness.rs, payload.rs
//! ```
//!
//! Invariants: a shard's data is never held in memory; a backup without a manifest is none; nothing is deleted but
//! what a manifest of ours names, and never the newest whole backup. Each shard's data is of one moment; the moments
//! of two shards differ.

mod likeness;
mod manifest;
mod payload;
mod progress;
mod proof;
mod rdb;
mod restore;
mod retention;
mod store;
mod take;
mod transfer;
mod verify;

use std::future::Future;
use std::time::SystemTime;

use clap::Args;
use serde_json::json;
use tokio::runtime::{Builder, LocalOptions};

use crate::config::Settings;
use crate::survey::Surveyor;

use manifest::Manifest;
use progress::Progress;
use store::Store;

pub use restore::{RestoreOptions, restore};
pub use retention::Retention;

/// Which backup to take or to look at.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where backups are: a folder, or s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, https://HOST/PATH, with
    /// the credentials that the environment has for them.
    #[arg(long, value_name = "TARGET")]
    pub to: String,
    /// Which backups to keep.
    #[command(flatten)]
    pub retention: Retention,
    /// Take none, but read one again and compare it with its manifest: the one of this name, or the newest.
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with_all = ["keep", "keep_days", "list"])]
    pub verify: Option<Option<String>>,
    /// Take none, but list those that are there.
    #[arg(long, conflicts_with_all = ["keep", "keep_days"])]
    pub list: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Whether a cluster is asked at all.
    pub fn needs_cluster(&self) -> bool {
        self.verify.is_none() && !self.list
    }
}

/// Takes a backup of the cluster of the settings, verifies one, or lists them. Answers what to print.
///
/// # Errors
/// It did not work; what was there before still is.
pub fn run(settings: Settings, options: &Options) -> anyhow::Result<String> {
    block_on(async {
        let store = match options.needs_cluster() {
            true => Store::make(&options.to)?,
            false => Store::open(&options.to)?,
        };
        let progress = Progress::new();
        if options.list {
            return list(&store, options.json).await;
        }
        if let Some(name) = &options.verify {
            let manifest = verify::find(&store, name.as_deref()).await?;
            verify::verify(&store, &manifest, &progress).await?;
            return Ok(said("verified", &manifest, options.json));
        }
        let manifest = take::take(&Surveyor::new(settings)?, &store, &progress).await?;
        for name in delete_outdated(&store, options.retention).await? {
            progress.say(&format!("deleted {name}"));
        }
        Ok(said("taken", &manifest, options.json))
    })?
}

fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    Ok(runtime.block_on(work))
}

/// Answers what was deleted.
async fn delete_outdated(store: &Store, retention: Retention) -> anyhow::Result<Vec<String>> {
    let mut manifests = Vec::new();
    for name in store.names().await? {
        match store.manifest(&name).await? {
            Some(manifest) => manifests.push(manifest),
            None => store.resume_deletion(&name).await?,
        }
    }
    let mut deleted = Vec::new();
    for manifest in retention.outdated(&manifests, SystemTime::now()) {
        store.delete(manifest).await?;
        deleted.push(manifest.name.clone());
    }
    Ok(deleted)
}

async fn list(store: &Store, is_json: bool) -> anyhow::Result<String> {
    let mut backups = Vec::new();
    for name in store.names().await? {
        backups.push((store.manifest(&name).await, name));
    }
    if is_json {
        let backups = backups.iter().map(|(manifest, name)| match manifest {
            Ok(manifest) => json!({ "name": name, "manifest": manifest }),
            Err(error) => json!({ "name": name, "error": format!("{error:#}") }),
        });
        let backups: Vec<_> = backups.collect();
        return Ok(format!("{:#}\n", json!({ "backups": backups })));
    }
    let lines = backups.iter().map(|(manifest, name)| match manifest {
        Ok(Some(manifest)) => format!("{name}  {}\n", summary(manifest)),
        Ok(None) => format!("{name}  not whole\n"),
        Err(error) => format!("{name}  {error:#}\n"),
    });
    Ok(lines.collect())
}

fn said(what: &str, manifest: &Manifest, is_json: bool) -> String {
    match is_json {
        true => format!("{:#}\n", json!({ what: true, "manifest": manifest })),
        false => format!("{what} {}: {}\n", manifest.name, summary(manifest)),
    }
}

fn summary(manifest: &Manifest) -> String {
    let keys = manifest.shards.iter().map(|part| part.holds.map(|holds| holds.keys));
    let keys = keys.sum::<Option<u64>>().map_or_else(String::new, |keys| format!("{keys} keys, "));
    format!("{} shards, {keys}{} bytes", manifest.shards.len(), manifest.bytes())
}
