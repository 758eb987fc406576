//! Takes a backup: one shard after the other, so that no more than one node at a time prepares a snapshot.

use std::time::SystemTime;

use anyhow::{Context as _, anyhow, bail, ensure};
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt as _;

use crate::backend::connect::dial;
use crate::survey::{Node, Shard, Surveyor};

use super::manifest::{Manifest, Part, Role};
use super::progress::Progress;
use super::proof::Proof;
use super::rdb::Soundness;
use super::store::Store;
use super::transfer::{Position, Transfer};

/// How often a backup is begun when slots move or primaries change meanwhile.
const ATTEMPTS: usize = 3;

/// Takes one, and returns when its manifest stands.
///
/// # Errors
/// A shard's data did not come whole, or slots moved in every attempt. What was written then is removed.
pub(super) async fn take(
    surveyor: &Surveyor,
    store: &Store,
    progress: &Progress,
) -> anyhow::Result<Manifest> {
    let mut manifest = new_manifest(store).await?;
    for _ in 0..ATTEMPTS {
        let outcome = attempt(surveyor, store, &mut manifest, progress).await;
        if let Ok(Moved::Nothing) = outcome {
            manifest.finish(SystemTime::now());
            store.put_manifest(&manifest).await?;
            return Ok(manifest);
        }
        for part in manifest.shards.drain(..) {
            // The reason why it failed is what counts.
            let _ = store.remove(&manifest.name, &part.file).await;
        }
        if let Moved::Something = outcome? {
            progress.say("slots moved or a primary changed meanwhile, once more");
        }
    }
    bail!("slots moved or primaries changed during each of {ATTEMPTS} attempts; try again later")
}

/// One whose name is free.
async fn new_manifest(store: &Store) -> anyhow::Result<Manifest> {
    let manifest = Manifest::begin(SystemTime::now());
    let names = store.names().await?;
    ensure!(!names.contains(&manifest.name), "the backup {} is there already", manifest.name);
    Ok(manifest)
}

/// Whether the shards are still what they were before.
enum Moved {
    Nothing,
    Something,
}

async fn attempt(
    surveyor: &Surveyor,
    store: &Store,
    manifest: &mut Manifest,
    progress: &Progress,
) -> anyhow::Result<Moved> {
    let before = surveyor.look().await?;
    if let Some(slot) = before.open_slots.first() {
        bail!(
            "slots are being moved ({slot}); end that first, for a key on its way is in no snapshot or in two"
        );
    }
    for shard in &before.shards {
        let what = format!("shard {} of {}", shard.number, before.shards.len());
        let part = copy(surveyor, shard, (store, &manifest.name), &progress.of(&what)).await;
        manifest.shards.push(part.with_context(|| what)?);
    }
    let after = surveyor.look().await?;
    let is_still = after.open_slots.is_empty() && after.is_as(&before);
    Ok(if is_still { Moved::Nothing } else { Moved::Something })
}

/// Copies one shard's data. A copy that failed leaves nothing.
async fn copy(
    surveyor: &Surveyor,
    shard: &Shard,
    (store, backup): (&Store, &str),
    progress: &Progress,
) -> anyhow::Result<Part> {
    let (node, role) = match surveyor.replica_in_step(shard).await {
        Ok(replica) => (replica, Role::Replica),
        Err(_) => (&shard.primary, Role::Primary),
    };
    progress.say(&node.address);
    let file = format!("shard-{}.rdb", shard.number);
    let mut writer = store.writer(backup, &file);
    let (position, sha256, found) = match stream(surveyor, node, &mut writer, progress).await {
        Ok(copied) => copied,
        Err(error) => {
            // The reason why it failed is what counts.
            let _ = writer.abort().await;
            return Err(error);
        }
    };
    let written = store.size(backup, &file).await?;
    ensure!(
        written == found.bytes,
        "{file} has {written} bytes in {}, not {}",
        store.target(),
        found.bytes
    );
    Ok(Part {
        file,
        bytes: found.bytes,
        sha256,
        crc64: found.crc64.map(|sum| format!("{sum:016x}")),
        rdb: found.format,
        holds: found.holds,
        slots: shard.slot_list(),
        node: node.address.to_string(),
        node_id: node.id.clone(),
        role,
        server: node.state.as_ref().map(|state| state.software.clone()).unwrap_or_default(),
        replication_id: position.replication_id,
        offset: position.offset,
    })
}

/// From the node to the target, never more than a few pieces in between.
async fn stream(
    surveyor: &Surveyor,
    node: &Node,
    writer: &mut BufWriter,
    progress: &Progress,
) -> anyhow::Result<(Position, String, Soundness)> {
    let from = || format!("{} gives no snapshot", node.address);
    let connection = dial(&node.address, surveyor.handshake()).await?;
    let mut transfer = Transfer::begin(connection).await.with_context(from)?;
    let mut proof = Proof::new();
    while let Some(piece) = transfer.next().await.with_context(from)? {
        proof.feed(&piece);
        progress.add(piece.len());
        writer.put(piece).await.context("cannot write the snapshot")?;
    }
    let proven =
        proof.finish().map_err(|error| anyhow!("the snapshot of {}: {error}", node.address));
    let (sha256, soundness) = proven?;
    writer.shutdown().await.context("cannot write the snapshot")?;
    Ok((transfer.position, sha256, soundness))
}
