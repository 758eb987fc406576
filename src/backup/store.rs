//! Where backups are kept: a folder, or object storage, by the crate `object_store`.
//!
//! ```text
//! TARGET/20261124T123456.789Z/shard-1.rdb
//! TARGET/20261124T123456.789Z/shard-2.rdb
//! TARGET/20261124T123456.789Z/manifest.json     written last
//! ```

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use url::Url;

use super::manifest::{Manifest, is_name};

const MANIFEST: &str = "manifest.json";
/// The manifest of a backup that is being deleted.
const DELETED: &str = "deleted.json";
/// Bytes sent at once to object storage, which takes ten thousand pieces for an object.
const PIECE: usize = 16 << 20;
/// Pieces under way.
const PIECES_AT_ONCE: usize = 2;

/// A target of backups.
#[derive(Debug)]
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    /// As the user wrote it.
    target: String,
}

impl Store {
    /// One that is there: a folder, or the URL of object storage, with credentials from the environment.
    ///
    /// # Errors
    /// It is neither, or of a kind that was not built in.
    pub(super) fn open(target: &str) -> anyhow::Result<Self> {
        let (objects, root) = match folder_of(target) {
            Some(path) => folder(path).with_context(|| format!("cannot open the folder {path}"))?,
            None => remote(target)?,
        };
        Ok(Self { objects, root, target: target.to_owned() })
    }

    /// The same, and a folder is made if need be: what the cluster stores is its user's own business.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(super) fn make(target: &str) -> anyhow::Result<Self> {
        if let Some(path) = folder_of(target) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.with_context(|| format!("cannot make the folder {path}"))?;
        }
        Self::open(target)
    }

    /// As the user named it.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    fn place(&self, backup: &str, file: &str) -> Path {
        self.root.clone().join(backup).join(file)
    }

    /// A file of a backup to be written, in pieces that are sent as they fill up. It stands once it was shut down.
    pub(super) fn writer(&self, backup: &str, file: &str) -> BufWriter {
        BufWriter::with_capacity(self.objects.clone(), self.place(backup, file), PIECE)
            .with_max_concurrency(PIECES_AT_ONCE)
    }

    /// A file of a backup, in pieces.
    pub(super) async fn read(
        &self,
        backup: &str,
        file: &str,
    ) -> anyhow::Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let place = self.place(backup, file);
        let found = self.objects.get(&place).await;
        Ok(found.with_context(|| format!("cannot read {place} in {}", self.target))?.into_stream())
    }

    /// How many bytes a file has.
    pub(super) async fn size(&self, backup: &str, file: &str) -> anyhow::Result<u64> {
        let place = self.place(backup, file);
        let found = self.objects.head(&place).await;
        Ok(found.with_context(|| format!("cannot find {place} in {}", self.target))?.size)
    }

    /// Makes a backup whole.
    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> anyhow::Result<()> {
        self.put(&manifest.name, MANIFEST, manifest).await
    }

    async fn put(&self, backup: &str, file: &str, manifest: &Manifest) -> anyhow::Result<()> {
        let place = self.place(backup, file);
        let text = PutPayload::from(manifest.write()?);
        let put = self.objects.put(&place, text).await;
        put.with_context(|| format!("cannot write {place} in {}", self.target))?;
        Ok(())
    }

    /// The manifest of a backup; `None` if it has none, and so is not whole.
    pub(super) async fn manifest(&self, backup: &str) -> anyhow::Result<Option<Manifest>> {
        self.manifest_in(backup, MANIFEST).await
    }

    async fn manifest_in(&self, backup: &str, file: &str) -> anyhow::Result<Option<Manifest>> {
        let place = self.place(backup, file);
        let what = || format!("{place} in {}", self.target);
        let found = match self.objects.get(&place).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", what())),
        };
        let text = found.bytes().await.with_context(|| format!("cannot read {}", what()))?;
        let manifest =
            Manifest::read(&text).with_context(|| format!("{} is no manifest", what()))?;
        if manifest.name != backup {
            bail!("{} is the manifest of {}", what(), manifest.name);
        }
        Ok(Some(manifest))
    }

    /// Names of the folders that may be backups, the oldest first.
    pub(super) async fn names(&self) -> anyhow::Result<Vec<String>> {
        let root = (!self.root.as_ref().is_empty()).then_some(&self.root);
        let listed = self.objects.list_with_delimiter(root).await;
        let listed = listed.with_context(|| format!("cannot list {}", self.target))?;
        let folders = listed.common_prefixes.iter().filter_map(|folder| folder.filename());
        let mut names: Vec<String> =
            folders.filter(|name| is_name(name)).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Deletes a backup: what its manifest names, and nothing else. One that was cut off is taken up the next time,
    /// and in between it does not pass for whole.
    pub(super) async fn delete(&self, manifest: &Manifest) -> anyhow::Result<()> {
        self.put(&manifest.name, DELETED, manifest).await?;
        self.remove(&manifest.name, MANIFEST).await?;
        self.finish_deletion(manifest).await
    }

    /// Goes on with the deletion of a backup that has no manifest any more, if that was begun.
    pub(super) async fn resume_deletion(&self, backup: &str) -> anyhow::Result<()> {
        match self.manifest_in(backup, DELETED).await? {
            Some(manifest) => self.finish_deletion(&manifest).await,
            None => Ok(()),
        }
    }

    async fn finish_deletion(&self, manifest: &Manifest) -> anyhow::Result<()> {
        for part in &manifest.shards {
            self.remove(&manifest.name, &part.file).await?;
        }
        self.remove(&manifest.name, DELETED).await
    }

    /// Removes one file; that it is not there is as good.
    pub(super) async fn remove(&self, backup: &str, file: &str) -> anyhow::Result<()> {
        let place = self.place(backup, file);
        match self.objects.delete(&place).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot delete {place} in {}", self.target))
            }
        }
    }
}

type Place = (Arc<dyn ObjectStore>, Path);

/// The folder that a target names, if it is one.
fn folder_of(target: &str) -> Option<&str> {
    match target.split_once("://") {
        None => Some(target),
        Some(("file", path)) => Some(path),
        Some(_) => None,
    }
}

fn folder(path: &str) -> object_store::Result<Place> {
    let objects = LocalFileSystem::new_with_prefix(path)?.with_automatic_cleanup(true);
    Ok((Arc::new(objects), Path::default()))
}

/// The crate names its options as the environment does, in small letters.
fn remote(target: &str) -> anyhow::Result<Place> {
    let url =
        Url::parse(target).with_context(|| format!("{target} is neither a folder nor a URL"))?;
    crate::tls::choose_cryptography();
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.to_str()?.to_ascii_lowercase(), value.to_str()?.to_owned()))
    });
    let opened = object_store::parse_url_opts(&url, variables);
    let (objects, root) = opened.with_context(|| format!("cannot open {target}"))?;
    Ok((Arc::from(objects), root))
}
