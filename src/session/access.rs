//! Who may use the gateway: one set of users for all workers, and the file that they come from.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::acl::{FileError, Users};
use crate::command::Commands;
use crate::config::{Auth, Mistake, Mistakes, Place, Secret, Settings};

use super::colleagues::Deed;
use super::denials::Denials;
use super::local::Selection;
use super::worker::Gateway;

/// A larger users file is not read.
const LARGEST_FILE: u64 = 16 << 20;

/// The users of a gateway process, as they are now, and what was denied to them.
pub struct Access {
    users: ArcSwap<Users>,
    /// Grows with every change of the users; sessions look at it before every request.
    version: AtomicU64,
    /// The settings; the password may be a later one.
    auth: ArcSwap<Auth>,
    pub(super) denials: Denials,
}

/// Why the users file was not taken. `Display` is the text of the servers.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("Error loading ACLs, opening file '{0}': {1}")]
    Unreadable(String, io::Error),
    /// Something in it is wrong.
    #[error(
        "{0}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    )]
    Wrong(String),
    /// Nobody read it.
    #[error("Error loading ACLs: {0}")]
    Unread(#[from] tokio::task::JoinError),
}

impl Access {
    /// The users of the settings and of the users file that these name.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn open(settings: &Settings) -> Result<Self, Mistakes> {
        let auth = &settings.auth;
        let users = match file_of(auth) {
            Some(path) => read_users(&path, settings)?,
            None => Users::new(auth),
        };
        Ok(Self {
            users: ArcSwap::from_pointee(users),
            version: AtomicU64::new(1),
            auth: ArcSwap::from_pointee(auth.clone()),
            denials: Denials::default(),
        })
    }

    /// Never 0.
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The users as they are now.
    pub(super) fn users(&self) -> Arc<Users> {
        self.users.load_full()
    }

    /// Puts other users in the place of those that there are; again, should somebody else have done so
    /// meanwhile.
    ///
    /// # Errors
    /// Those of `change`. Then nothing has changed.
    pub(super) fn change<E>(&self, change: impl Fn(&Users) -> Result<Users, E>) -> Result<(), E> {
        loop {
            let now = self.users.load_full();
            let next = Arc::new(change(&now)?);
            if Arc::ptr_eq(&now, &self.users.compare_and_swap(&now, next)) {
                break;
            }
        }
        self.look_again();
        Ok(())
    }

    /// Every session looks again at what its user may do before its next request.
    pub(super) fn look_again(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The default user has this password from now on. Who is logged in stays so.
    fn change_password(&self, password: &Secret) {
        let before = self.auth.load_full();
        if before.password == *password {
            return;
        }
        self.auth.store(Arc::new(Auth { password: password.clone(), ..Auth::clone(&before) }));
        let Ok(()) = self.change(|users| Ok::<_, Infallible>(users.with_password(password)));
    }

    /// Works all rules out again, now that these commands are known.
    pub(super) fn reconsider(&self, commands: &Commands) {
        let Ok(()) = self.change(|users| Ok::<_, Infallible>(users.reconsidered(commands)));
    }

    /// Where the users come from, if from a file.
    pub(super) fn file(&self) -> Option<PathBuf> {
        file_of(&self.auth.load())
    }

    /// Reads the users file again. It blocks.
    ///
    /// # Errors
    /// What is wrong with it. Then nothing has changed.
    pub(super) fn load(&self, path: &Path, commands: &Commands) -> Result<(), LoadError> {
        let shown = path.display();
        let text = read(path).map_err(|error| LoadError::Unreadable(shown.to_string(), error))?;
        let users = Users::read(&text, &self.auth.load(), commands).map_err(|errors| {
            let lines =
                errors.iter().map(|FileError { line, fault }| format!("{shown}:{line}: {fault}. "));
            LoadError::Wrong(lines.collect())
        })?;
        let taken: Result<(), LoadError> =
            self.change(|before| Ok(users.clone().succeeding(before)));
        taken
    }

    /// Writes the users into the file, which is there in whole or as before. It blocks.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        // It holds hashes of passwords: only its owner may read it, unless that was so before.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        if let Ok(before) = std::fs::metadata(path) {
            file.as_file().set_permissions(before.permissions())?;
        }
        file.write_all(&self.users().file(&Commands::baseline()))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

impl Gateway {
    /// The password in the file that the settings name has changed.
    pub fn change_password(&self, password: &Secret) {
        self.access.change_password(password);
    }

    /// These users, of settings that were loaded again, take the place of those that there are. What
    /// administrators changed since stays where no file is named.
    pub fn take_users(&self, opened: &Access) {
        let auth = opened.auth.load_full();
        if file_of(&auth).or(self.access.file()).is_none() {
            self.access.change_password(&auth.password);
            self.access.auth.store(auth);
            return;
        }
        self.access.auth.store(auth);
        let (users, commands) = (opened.users(), self.known.current().load_full());
        let Ok(()) = self
            .access
            .change(|before| Ok::<_, Infallible>(users.reconsidered(&commands).succeeding(before)));
    }

    /// As whom requests are sent to the nodes has been loaded again: every client looks before its next one.
    pub fn logins_changed(&self) {
        let (credentials, users) = (self.credentials.load(), self.access.users());
        for name in credentials.named().filter(|name| users.get(name).is_none()) {
            let user = String::from_utf8_lossy(name);
            tracing::warn!(%user, "`cluster.logins` names a user that there is not");
        }
        self.access.look_again();
    }

    /// Disconnects the clients whose user is not there any more.
    pub async fn expel(&self) {
        self.colleagues.ask(Selection::default(), Deed::Expel).await;
    }

    /// Reads the users file again, all of it or none. Clients whose user is not in it any more are disconnected.
    ///
    /// # Errors
    /// What is wrong with the file. Then nothing has changed.
    pub async fn reload_users(self: Arc<Self>) -> Result<(), LoadError> {
        let Some(path) = self.access.file() else { return Ok(()) };
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            this.access.load(&path, &this.known.current().load_full())
        })
        .await??;
        self.expel().await;
        Ok(())
    }
}

fn file_of(auth: &Auth) -> Option<PathBuf> {
    (!auth.users_file.is_empty()).then(|| PathBuf::from(&auth.users_file))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(text)
}

fn read_users(path: &Path, settings: &Settings) -> Result<Users, Mistakes> {
    let text = read(path).map_err(|error| {
        let text = format!("`auth.users_file` names a file that cannot be read: {error}");
        Mistakes(vec![Mistake { place: Place::File(path.to_owned()), text }])
    })?;
    let users = Users::read(&text, &settings.auth, &Commands::baseline());
    let users = users.map_err(|errors| {
        let mistake = |FileError { line, fault }: FileError| Mistake {
            place: Place::Line(path.to_owned(), line, 1),
            text: fault.to_string(),
        };
        Mistakes(errors.into_iter().map(mistake).collect())
    })?;
    let listen = &settings.listen;
    let mut addresses = std::iter::once(listen.address).chain(listen.tls_address);
    let reachable = addresses.any(|address| !address.ip().to_canonical().is_loopback());
    if users.are_open() && reachable && !settings.auth.allow_open {
        let text = "leaves the user `default` without a password on a listener that is open to other \
                    machines: add `user default off`, give it a password, or allow it with \
                    `auth.allow_open = true`";
        let place = Place::File(path.to_owned());
        return Err(Mistakes(vec![Mistake { place, text: text.to_owned() }]));
    }
    Ok(users)
}
