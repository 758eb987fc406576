//! A new local cluster with a backup's data: every shard's file becomes what its primary begins with.
//!
//! Then each primary is compared with a server of its own that has loaded the same file and nothing else happened to:
//! key by key, unless only numbers are wanted.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use futures_util::TryStreamExt as _;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::backend::connect::{Conversation, Credentials, Handshake};
use crate::config::Settings;
use crate::launch::{self, Contents, LocalCluster, SLOTS};
use crate::resp::Value;

use super::block_on;
use super::likeness;
use super::manifest::{Manifest, Part};
use super::progress::Progress;
use super::proof::Proof;
use super::rdb::Counts;
use super::store::Store;
use super::verify;

/// Where files are until their nodes take them, below the cluster's folder.
const ARRIVALS: &str = "restore";
/// Most bytes in an answer about what a node holds; a large value is the longest.
const ANSWER_BYTES: usize = 4 << 30;

/// Which backup becomes which cluster.
#[derive(Args, Clone, Debug)]
pub struct RestoreOptions {
    /// Where backups are, as for `slotway backup --to`.
    #[arg(long, value_name = "TARGET")]
    pub from: String,
    /// The backup's name [default: the newest].
    #[arg(long, value_name = "NAME")]
    pub backup: Option<String>,
    /// Folder of the new cluster, which must not be there or be empty.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Replicas of each primary.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub replicas: u16,
    /// Port of the first node; the others follow it.
    #[arg(long, value_name = "PORT", default_value_t = 7000)]
    pub base_port: u16,
    /// The server program [default: redis-server or valkey-server on the PATH].
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Make a cluster that speaks TLS.
    #[arg(long)]
    pub tls: bool,
    /// Only count keys and functions afterwards, instead of comparing each with the backup. That takes as much memory
    /// again as the largest shard, and a port behind those of the cluster.
    #[arg(long)]
    pub quick: bool,
}

/// Makes the cluster, compares it with the backup, and stops it. Answers what to print: how it is started.
///
/// # Errors
/// The backup is damaged, the folder holds something, or the cluster does not have what the backup has.
pub fn restore(options: &RestoreOptions) -> anyhow::Result<String> {
    let dir = &options.dir;
    let is_empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    ensure!(
        is_empty,
        "{} is not empty; choose another --dir, or remove what is there",
        dir.display()
    );
    let (manifest, contents) = block_on(fetch(options))??;
    let left = || format!("{} holds what came of it; remove it before the next try", dir.display());
    let shape = launch::Options {
        masters: u16::try_from(contents.len()).context("there are too many shards")?,
        replicas: options.replicas,
        base_port: options.base_port,
        dir: Some(dir.clone()),
        server: options.server.clone(),
        launcher: Some(launch::own_program()?),
        tls: options.tls,
        contents,
        ..launch::Options::default()
    };
    let cluster = LocalCluster::start(&shape, &|_| {}).with_context(left)?;
    let mut total = Counts::default();
    for (part, address) in manifest.shards.iter().zip(cluster.addresses()) {
        let proven = prove(options, &cluster, address, part);
        let holds = proven.with_context(|| format!("{address}, from {}", part.file));
        let holds = holds.with_context(left)?;
        total.keys += holds.keys;
        // Every primary has all of them.
        total.functions = total.functions.max(holds.functions);
    }
    cluster.stop();
    // It is empty by now.
    let _ = fs::remove_dir(dir.join(ARRIVALS));
    let tls = if options.tls { " --tls" } else { "" };
    let how = if options.quick { "counted" } else { "compared with the backup, each of them" };
    Ok(format!(
        "restored {}: {} shards, {} keys, libraries of functions: {}; {how}\n\
         start it with: slotway up --dir {} --masters {} --replicas {} --base-port {}{tls}\n",
        manifest.name,
        manifest.shards.len(),
        total.keys,
        total.functions,
        dir.display(),
        shape.masters,
        options.replicas,
        options.base_port,
    ))
}

/// Brings the files to the new folder, each compared with the manifest on its way.
async fn fetch(options: &RestoreOptions) -> anyhow::Result<(Manifest, Vec<Contents>)> {
    let store = Store::open(&options.from)?;
    let manifest = verify::find(&store, options.backup.as_deref()).await?;
    let arrivals = options.dir.join(ARRIVALS);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&arrivals);
    made.with_context(|| format!("cannot make the folder {}", arrivals.display()))?;
    let mut contents = Vec::new();
    for part in &manifest.shards {
        let dump = arrivals.join(&part.file);
        let fetched = fetch_part(&store, &manifest.name, part, &dump).await;
        if let Err(error) = fetched {
            // Nothing of it is of use, and the folder is to be empty for the next try.
            let _ = fs::remove_dir_all(&arrivals);
            return Err(error.context(format!("{} of {}", part.file, manifest.name)));
        }
        if !options.quick {
            // One file by two names, or where that cannot be, two files.
            let again = fs::hard_link(&dump, original(&dump));
            again.or_else(|_| fs::copy(&dump, original(&dump)).map(drop))?;
        }
        contents.push(Contents { slots: part.ranges()?, dump });
    }
    Ok((manifest, contents))
}

async fn fetch_part(store: &Store, backup: &str, part: &Part, dump: &Path) -> anyhow::Result<()> {
    let progress = Progress::new().of(&part.file);
    let mut pieces = store.read(backup, &part.file).await?;
    let mut file = File::create(dump).await?;
    let mut proof = Proof::new();
    while let Some(piece) = pieces.try_next().await? {
        progress.add(piece.len());
        proof.feed(&piece);
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok(proof.compare(part)?)
}

/// The other name of a file.
fn original(dump: &Path) -> PathBuf {
    dump.with_extension("original")
}

/// The primary has what its file had, but for keys that have expired since. Answers how much there is.
fn prove(
    options: &RestoreOptions,
    cluster: &LocalCluster,
    address: SocketAddr,
    part: &Part,
) -> anyhow::Result<Counts> {
    let holds = block_on(async {
        let mut talk = talk(cluster, address).await?;
        count(&mut talk).await
    })??;
    if let Some(wanted) = part.holds {
        compare(wanted, Counts { expiring: wanted.expiring, ..holds })?;
    }
    if !options.quick {
        compare_keys(options, cluster, address, part)?;
    }
    Ok(holds)
}

/// Loads the file once more, into a server that has nothing else to do, and compares every key.
fn compare_keys(
    options: &RestoreOptions,
    cluster: &LocalCluster,
    address: SocketAddr,
    part: &Part,
) -> anyhow::Result<()> {
    let dump = original(&options.dir.join(ARRIVALS).join(&part.file));
    let dir = dump.with_extension("compared");
    let behind = cluster.addresses().len();
    let base_port = u16::try_from(usize::from(options.base_port) + behind)?;
    let shape = launch::Options {
        masters: 1,
        replicas: 0,
        base_port,
        dir: Some(dir.clone()),
        server: options.server.clone(),
        launcher: Some(launch::own_program()?),
        tls: options.tls,
        contents: vec![Contents { slots: vec![0..=SLOTS - 1], dump }],
        ..launch::Options::default()
    };
    let source = LocalCluster::start(&shape, &|_| {})?;
    let place = source.addresses().first().copied().context("a cluster without nodes")?;
    block_on(async {
        let (mut wanted, mut found) = (talk(&source, place).await?, talk(cluster, address).await?);
        likeness::compare(&mut wanted, &mut found).await
    })??;
    source.stop();
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
}

async fn talk(cluster: &LocalCluster, address: SocketAddr) -> anyhow::Result<Conversation> {
    let mut settings = Settings::default();
    cluster.point_at(&mut settings.cluster);
    let credentials = Credentials::load(&settings.cluster)?;
    let handshake = Handshake::control(credentials, settings.backend.request_timeout);
    Ok(Conversation::open(&address.to_string(), &handshake, ANSWER_BYTES).await?)
}

async fn count(talk: &mut Conversation) -> anyhow::Result<Counts> {
    let questions: [&[&str]; 2] = [&["DBSIZE"], &["FUNCTION", "LIST"]];
    let [size, functions] = talk.ask(questions).await?;
    let size = Value::parse(&size)?.as_integer().and_then(|size| u64::try_from(size).ok());
    let functions = Value::parse(&functions)?;
    let functions = functions.as_array().map(|list| list.len() as u64);
    let (Some(keys), Some(functions)) = (size, functions) else {
        bail!("{} does not say what it holds", talk.address());
    };
    Ok(Counts { keys, functions, ..Counts::default() })
}

fn compare(wanted: Counts, found: Counts) -> anyhow::Result<()> {
    let lasting = wanted.keys.saturating_sub(wanted.expiring);
    ensure!(
        (lasting..=wanted.keys).contains(&found.keys),
        "it has {} keys, and the backup {}, of which {} expire",
        found.keys,
        wanted.keys,
        wanted.expiring
    );
    ensure!(
        found.functions == wanted.functions,
        "it has {} libraries of functions, and the backup {}",
        found.functions,
        wanted.functions
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_expire_may_be_missing() {
        let wanted = Counts { keys: 10, expiring: 3, functions: 2 };
        for (keys, functions, is_good) in
            [(10, 2, true), (7, 2, true), (6, 2, false), (11, 2, false), (10, 1, false)]
        {
            let found = Counts { keys, functions, ..wanted };
            assert_eq!(compare(wanted, found).is_ok(), is_good, "{found:?}");
        }
    }
}
