//! Reads a backup again, and says whether every file is what its manifest says.

use anyhow::{Context as _, bail};
use futures_util::TryStreamExt as _;

use super::manifest::{Manifest, Part};
use super::progress::Progress;
use super::proof::Proof;
use super::store::Store;

/// The whole backup of this name, or the newest one.
///
/// # Errors
/// There is none, or it is not whole.
pub(super) async fn find(store: &Store, name: Option<&str>) -> anyhow::Result<Manifest> {
    if let Some(name) = name {
        let found = store.manifest(name).await?;
        return found
            .with_context(|| format!("there is no whole backup {name} in {}", store.target()));
    }
    for name in store.names().await?.iter().rev() {
        if let Some(manifest) = store.manifest(name).await? {
            return Ok(manifest);
        }
    }
    bail!("there is no whole backup in {}", store.target())
}

/// Reads every file.
///
/// # Errors
/// All that is wrong, file by file.
pub(super) async fn verify(
    store: &Store,
    manifest: &Manifest,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for part in &manifest.shards {
        if let Err(error) = verify_part(store, &manifest.name, part, progress).await {
            faults.push(format!("{}: {error:#}", part.file));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("the backup {} is damaged: {}", manifest.name, faults.join("; "))
}

async fn verify_part(
    store: &Store,
    backup: &str,
    part: &Part,
    progress: &Progress,
) -> anyhow::Result<()> {
    let progress = progress.of(&part.file);
    let mut pieces = store.read(backup, &part.file).await?;
    let mut proof = Proof::new();
    while let Some(piece) = pieces.try_next().await? {
        progress.add(piece.len());
        proof.feed(&piece);
    }
    Ok(proof.compare(part)?)
}
