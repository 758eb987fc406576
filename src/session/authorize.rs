//! What a client may do, looked at before each of its requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::acl::{Denied, User, Wording};
use crate::command::{CommandError, CommandSpec, Commands};
use crate::metrics::Family;
use crate::resp::{Request, write};

use super::conversation::{Conversation, Flow};
use super::denials::{Event, Reason};

/// To one that has to log in.
pub(super) const NO_LOGIN: &str = "NOAUTH Authentication required.";

impl Conversation {
    /// Whether a request that cannot be understood is answered with that: by servers that first look who it comes from.
    pub(super) fn must_log_in_first(&self, commands: &Commands, error: &CommandError) -> bool {
        if self.is_authenticated() || !self.dialect().asks_for_login_first() {
            return false;
        }
        let CommandError::Arity(name) = error else { return true };
        let spec = commands.find(&name.to_ascii_uppercase());
        !spec.is_some_and(CommandSpec::needs_no_login)
    }

    /// Whether the client may send whatever it likes, as fast as it likes, by users that have not changed since
    /// that was found. It is the one thing that rules and rates cost a client that has none.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.free_under.get() == self.worker.gateway.access.version()
    }

    /// Answers a request that the client may not send, and says how to go on; `None` when it may.
    pub(super) fn bar(&mut self, spec: &CommandSpec, request: &Request<'_>) -> Option<Flow> {
        // An EXEC that waits for nodes is served again and again; it was looked at when it came.
        if self.transaction.has_begun() {
            return None;
        }
        if let Some(flow) = self.renew() {
            return Some(flow);
        }
        if self.awaits_turn(request) {
            return Some(Flow::Wait);
        }
        if !self.is_authenticated() && !spec.needs_no_login() {
            return Some(self.reject(spec, NO_LOGIN));
        }
        let denied = self.client.user.borrow().check(spec, request).err()?;
        Some(self.deny(denied, spec, request))
    }

    /// Learns who its user is now, at the nodes as well; how to go on when that is nobody, or has to wait.
    fn renew(&mut self) -> Option<Flow> {
        let access = &self.worker.gateway.access;
        // Looked at first: users that are newer than their version are only looked up once more.
        let version = access.version();
        if self.seen.get() == version {
            return None;
        }
        let users = access.users();
        let Some(user) = users.again(&self.client.user.borrow()).cloned() else {
            // It was deleted. Whoever did that will have the client disconnected; nothing more is answered.
            self.client.kill();
            return Some(Flow::Close);
        };
        let login = self.worker.gateway.credentials.load().login_of(user.name());
        let manner = self.manner().sent_as(login);
        if self.must_wait_to_mean(manner) {
            return Some(Flow::Wait);
        }
        if manner != self.manner() {
            self.client.means(manner);
            self.track_again();
        }
        let authenticated = self.client.logged_in.get() || users.are_open();
        self.client.authenticated.set(authenticated);
        let unrestricted = authenticated && user.is_unrestricted();
        let pace = authenticated.then(|| self.worker.gateway.rates.of(user.name())).flatten();
        let before = self.client.user.replace(user.clone());
        if !unrestricted && !Arc::ptr_eq(&before, &user) {
            self.transaction.rules_changed();
        }
        let free = unrestricted && pace.is_none();
        self.pace = pace;
        self.free_under.set(if free { version } else { 0 });
        self.seen.set(version);
        None
    }

    fn deny(&mut self, denied: Denied, spec: &CommandSpec, request: &Request<'_>) -> Flow {
        let name = spec.wire_name();
        let reason = match denied {
            Denied::Key(_) => Reason::Key,
            Denied::Channel(_) => Reason::Channel,
            Denied::Command | Denied::Patterns(_) | Denied::Script => Reason::Command,
        };
        let argument = denied.place().and_then(|at| request.arg(at)).unwrap_or(name.as_bytes());
        let user = self.client.user.borrow().clone();
        self.worker.metrics.acl_denied();
        // A server's log has only what it decides before it begins with a command.
        if !matches!(denied, Denied::Patterns(_)) {
            self.note(reason, argument, user.name());
        }
        self.audit_denial(spec, reason, argument);
        self.reject(spec, denied.line(user.name(), spec, self.wording()))
    }

    /// Becomes another user, if this is its password.
    pub(super) fn log_in(&self, request: &Request<'_>, name: &[u8], password: &[u8]) -> bool {
        let (worker, address) = (&self.worker, self.client.ends.client.host());
        let users = worker.gateway.access.users();
        let Some(user) = users.admit(name, password) else {
            worker.metrics.login_failed();
            self.note(Reason::Login, request.name(), name);
            self.audit_failed_login(users.get(name).map(|user| user.name()));
            return false;
        };
        worker.failures.succeeded(address);
        self.become_user(user, "password");
        true
    }

    /// Becomes the user that the client's certificate names, if there is one.
    pub(super) fn log_in_by_certificate(&self, name: &str) {
        let users = self.worker.gateway.access.users();
        if let Some(user) = users.vouched(name.as_bytes()) {
            self.become_user(user, "certificate");
        }
    }

    fn become_user(&self, user: &Arc<User>, by: &'static str) {
        self.client.user.replace(user.clone());
        self.client.logged_in.set(true);
        self.client.authenticated.set(true);
        self.forget_rights();
        self.audit_login(by);
    }

    /// Becomes what it was when it connected.
    pub(super) fn log_out(&self) {
        let users = self.worker.gateway.access.users();
        self.client.user.replace(users.default_user());
        self.client.logged_in.set(users.are_open());
        self.client.authenticated.set(users.are_open());
        self.forget_rights();
    }

    /// They are looked up again before the next request.
    fn forget_rights(&self) {
        self.free_under.set(0);
        self.seen.set(0);
    }

    /// Answers a failed login, the later the more of them came from its address.
    pub(super) fn fail_late(&self, family: Family, text: String) -> Flow {
        let (worker, address) = (&self.worker, self.client.ends.client.host());
        let first = worker.gateway.settings().auth.failed_login_delay;
        let pause = worker.failures.failed(address, worker.clock.now(), first);
        if pause == Duration::ZERO {
            return self.fail(family, text);
        }
        self.answer_later(family, async move {
            sleep(pause).await;
            let mut line = Vec::new();
            write::error(&mut line, text);
            line
        });
        Flow::Next
    }

    fn note(&self, reason: Reason, object: &[u8], user: &[u8]) {
        let portrait = self.client.portrait(self.worker.clock.now());
        let client = portrait.map(|portrait| portrait.to_string()).unwrap_or_default();
        let context = if self.transaction.is_open() { "multi" } else { "toplevel" };
        let gateway = &self.worker.gateway;
        let kept = gateway.settings().auth.log_length;
        gateway.access.denials.add(Event { reason, context, object, user, client }, kept);
    }

    /// How the servers behind the gateway write about rules.
    pub(super) fn wording(&self) -> Wording {
        let names_users = self.worker.gateway.software().is_since(7, 2);
        if names_users { Wording::New } else { Wording::Old }
    }
}
