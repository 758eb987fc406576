//! What a session has to say to the audit log.

use crate::command::CommandSpec;
use crate::observe::audit::{Kind, Record};
use crate::resp::Request;

use super::conversation::Conversation;
use super::denials::Reason;

/// Bytes kept of a key, a channel or an argument.
const SHOWN: usize = 128;

impl Conversation {
    /// The client has become a user, by its password or its certificate.
    pub(super) fn audit_login(&self, by: &'static str) {
        self.audit(Kind::Login, |record| record.reason = by);
    }

    /// The client gave a wrong password, or a user that there is not.
    pub(super) fn audit_failed_login(&self, user: Option<&[u8]>) {
        self.audit(Kind::LoginFailed, |record| record.user = text(user.unwrap_or_default()));
    }

    /// The rules denied a request.
    pub(super) fn audit_denial(&self, spec: &CommandSpec, reason: Reason, object: &[u8]) {
        self.audit(Kind::Denied, |record| {
            record.command = spec.wire_name();
            record.reason = reason.word();
            record.object = text(object);
        });
    }

    /// A command for administrators is carried out.
    pub(super) fn audit_command(&self, spec: &CommandSpec, request: &Request<'_>, number: u32) {
        self.audit(Kind::Command, |record| {
            record.request = self.client.request_id(number);
            record.command = spec.wire_name();
            // What follows the command's name is a name as well: of a user, a setting, a client. What stands
            // behind it may be secret.
            let words = spec.name.split(' ').count();
            record.object = text(request.arg(words).unwrap_or_default());
        });
    }

    fn audit(&self, kind: Kind, fill: impl FnOnce(&mut Record)) {
        self.worker.gateway.audit.note(kind, || {
            let mut record = Record {
                user: text(self.client.user.borrow().name()),
                client: self.client.ends.client.to_string(),
                client_id: self.client.id,
                request: self.client.request_id(self.replies.next_number()),
                ..Record::default()
            };
            fill(&mut record);
            record
        });
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).into_owned()
}
