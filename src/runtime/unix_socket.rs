//! The Unix socket for clients of this machine: its file belongs to whom the settings say before anybody can connect.

use std::cell::Cell;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::{fs, io};

use anyhow::{Context, anyhow};
use nix::unistd::{Group, User};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::inherited::Inherited;
use crate::config::Listen;

/// The file of a Unix socket, removed with the listener, unless it is somebody else's.
pub(super) struct UnixPath {
    pub(super) path: Arc<str>,
    pub(super) is_own: Cell<bool>,
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if self.is_own.get() {
            // A file that somebody else has removed is gone as well.
            let _ = fs::remove_file(&*self.path);
        }
    }
}

/// Listens at the path of the settings. Whoever passed the socket on has seen to its file.
pub(super) fn bind(
    listen: &Listen,
    inherited: &mut Inherited,
) -> anyhow::Result<(UnixListener, UnixPath)> {
    let path = &*listen.unix_socket;
    if let Some(socket) = inherited.unix(path) {
        let is_own = Cell::new(inherited.files_are_own());
        return Ok((UnixListener::from_std(socket)?, UnixPath { path: path.into(), is_own }));
    }
    remove_left_over(path)?;
    let (owner, group) = (owner(&listen.unix_owner)?, group(&listen.unix_group)?);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = UnixPath { path: path.into(), is_own: Cell::new(true) };
    if owner.is_some() || group.is_some() {
        chown(path, owner, group).context("its owner cannot be set")?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(listen.unix_permissions))?;
    // Until here nobody could connect, whatever the file's first permissions were.
    socket.listen(listen.backlog.try_into().unwrap_or(i32::MAX))?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

/// A file that nobody listens behind any more is left over from an earlier run.
fn remove_left_over(path: &str) -> io::Result<()> {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if UnixStream::connect(path).is_err_and(refused) { fs::remove_file(path) } else { Ok(()) }
}

/// The number of a user, given by it or by name; empty means that nothing is to be changed.
fn owner(name: &str) -> anyhow::Result<Option<u32>> {
    id(name, "user (listen.unix_owner)", |name| {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    })
}

/// The same of a group.
fn group(name: &str) -> anyhow::Result<Option<u32>> {
    id(name, "group (listen.unix_group)", |name| {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    })
}

fn id(
    name: &str,
    what: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> anyhow::Result<Option<u32>> {
    if name.is_empty() {
        return Ok(None);
    }
    let known = find(name).with_context(|| format!("cannot look for the {what} {name:?}"))?;
    let number = known.or_else(|| name.parse().ok());
    number.map(Some).ok_or_else(|| anyhow!("there is no {what} called {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_names_or_numbers() {
        for (name, expected) in
            [("", Some(None)), ("root", Some(Some(0))), ("4711", Some(Some(4711)))]
        {
            assert_eq!(owner(name).ok(), expected, "{name:?}");
            assert_eq!(group(name).ok(), expected, "{name:?}");
        }
        let wrong = owner("nobody by this name").unwrap_err().to_string();
        assert_eq!(wrong, "there is no user (listen.unix_owner) called \"nobody by this name\"");
        assert!(group("-1").is_err());
    }
}
