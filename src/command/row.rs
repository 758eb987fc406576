//! How a row of the table is written: what each class of command stands for, and what a row may say
//! beyond its class.

use std::borrow::Cow;

use super::shapes::{CHANNELS, NO_KEYS};
use super::{
    Access, Availability, Categories, Class, CommandSpec, Cross, InMulti, KeySpec, Need, Options,
    Refusal, Retry, Target,
};
use crate::merge::ResponsePolicy;

/// What a command does to its keys' values, and whether doing it twice is the same as once.
#[derive(Clone, Copy)]
pub(super) struct Effect(Access, Retry, Need);

const BOTH: Need = Need::READ.union(Need::WRITE);
const NOTHING: Need = Need::empty();

/// Reads values.
pub(super) const READ: Effect = Effect(Access::Read, Retry::Read, Need::READ);
/// Asks about keys, not about their values.
pub(super) const PEEK: Effect = Effect(Access::Read, Retry::Read, NOTHING);
/// Writes; the same end state when repeated.
pub(super) const SAME: Effect = Effect(Access::Write, Retry::Idempotent, Need::WRITE);
/// Writes; a repeat would do it twice or answer differently.
pub(super) const ONCE: Effect = Effect(Access::Write, Retry::Never, Need::WRITE);
/// Writes and tells what was or is there; never repeated.
pub(super) const TAKE: Effect = Effect(Access::Write, Retry::Never, BOTH);
/// Writes and tells what was or is there; the same end state when repeated.
pub(super) const SWAP: Effect = Effect(Access::Write, Retry::Idempotent, BOTH);
/// Flagged as a write, but only learns values.
pub(super) const LEARN: Effect = Effect(Access::Write, Retry::Never, Need::READ);
/// No keys: asks a server something.
pub(super) const ASK: Effect = Effect(Access::Neither, Retry::Read, NOTHING);
/// No keys: changes a server's state, the same when repeated.
pub(super) const TELL: Effect = Effect(Access::Neither, Retry::Idempotent, NOTHING);
/// No keys: never repeated.
pub(super) const ACT: Effect = Effect(Access::Neither, Retry::Never, NOTHING);
/// Stays in the gateway.
pub(super) const HERE: Effect = Effect(Access::Neither, Retry::Local, NOTHING);

type Arity = i16;
type Text = &'static str;

/// All keys in one slot; goes to that slot's node.
pub(super) const fn keyed(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    CommandSpec {
        name: Cow::Borrowed(name),
        number: 0,
        since,
        arity,
        access: effect.0,
        keys: keys.needing(effect.2),
        class: Class::Keyed,
        target: Target::Slot,
        merge: ResponsePolicy::None,
        cross: Cross::Never,
        default: Availability::On,
        refusal: Refusal::NotAllowed,
        blocking: false,
        in_multi: InMulti::Queue,
        retry: effect.1,
        categories: Categories::empty(),
        options: Options::Plain,
    }
}

/// Independent keys: one part per slot.
pub(super) const fn split(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    keyed(name, since, arity, effect, keys).several(Class::Split, Cross::Split)
}

/// One part after the other until one has something.
pub(super) const fn sequence(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Sequence, Cross::Split).merge(ResponsePolicy::FirstSome)
}

/// Read in parts, computed here.
pub(super) const fn gather(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Gather, Cross::Gather).merge(ResponsePolicy::Computed)
}

/// Read in parts, computed here, written in the destination's slot.
pub(super) const fn store(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Store, Cross::Store).merge(ResponsePolicy::LastStep)
}

/// Writes in two slots.
pub(super) const fn moves(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Move, Cross::Move).merge(ResponsePolicy::LastStep)
}

/// May wait: on a leased connection, or by watching all slots.
pub(super) const fn block(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys).several(Class::Block, Cross::Track);
    row.merge(ResponsePolicy::FirstSome).multi(InMulti::NonBlocking).may_block()
}

/// Reads streams, each from an ID of its own; waits only with `BLOCK`.
pub(super) const fn streams(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = block(name, since, arity, effect, keys).cross(Cross::Split);
    row.merge(ResponsePolicy::Streams).options(Options::Streams)
}

/// A script: all keys in one slot, or none at all.
pub(super) const fn script(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    keyed(name, since, arity, effect, keys).class(Class::Script).one_slot()
}

/// Publishes or subscribes.
pub(super) const fn pubsub(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys).class(Class::PubSub);
    row.to(Target::Home).multi(InMulti::Refuse)
}

/// Subscribes to shard channels, which have slots.
pub(super) const fn shard_pubsub(name: Text, since: Text, arity: Arity) -> CommandSpec {
    pubsub(name, since, arity, HERE, CHANNELS).to(Target::Slots).cross(Cross::Split)
}

/// Counts subscriptions, of the nodes and of the gateway's clients.
pub(super) const fn census(name: Text, since: Text, arity: Arity) -> CommandSpec {
    let row = pubsub(name, since, arity, ASK, NO_KEYS).to(Target::Nodes);
    row.merge(ResponsePolicy::Special)
}

/// Controls a transaction.
pub(super) const fn transaction(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys).class(Class::Transaction);
    row.to(Target::Gateway).multi(InMulti::Control)
}

/// Every primary.
pub(super) const fn masters(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, NO_KEYS).class(Class::AllMasters);
    row.to(Target::Masters).merge(merge).multi(InMulti::Refuse)
}

/// Every primary and replica; for administrators.
pub(super) const fn nodes(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    let row = masters(name, since, arity, effect, merge).class(Class::AllNodes);
    row.to(Target::Nodes).admin()
}

/// Scripts and functions kept by every primary.
pub(super) const fn library(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    masters(name, since, arity, effect, merge).class(Class::Script)
}

/// Waits until replicas have what every primary has written.
pub(super) const fn wait(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    masters(name, since, arity, effect, merge).multi(InMulti::Queue).may_block()
}

/// Scripts and functions as any node knows them.
pub(super) const fn catalogue(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
) -> CommandSpec {
    any(name, since, arity, effect).class(Class::Script).multi(InMulti::Refuse)
}

/// Any node speaks for all.
pub(super) const fn any(name: Text, since: Text, arity: Arity, effect: Effect) -> CommandSpec {
    keyed(name, since, arity, effect, NO_KEYS).class(Class::AnyNode).to(Target::Any)
}

/// A cursor over all primaries.
pub(super) const fn cursor(name: Text, since: Text, arity: Arity, effect: Effect) -> CommandSpec {
    let row = keyed(name, since, arity, effect, NO_KEYS).class(Class::Cursor);
    row.to(Target::OneMaster).merge(ResponsePolicy::Special).multi(InMulti::Refuse)
}

/// Answered by the gateway.
pub(super) const fn local(name: Text, since: Text, arity: Arity) -> CommandSpec {
    let row = keyed(name, since, arity, HERE, NO_KEYS).class(Class::Local);
    row.to(Target::Gateway).multi(InMulti::Splice)
}

/// An error; nothing is sent.
pub(super) const fn refused(
    name: Text,
    since: Text,
    arity: Arity,
    refusal: Refusal,
) -> CommandSpec {
    keyed(name, since, arity, HERE, NO_KEYS).refuse(refusal)
}

/// What rows say beyond their class.
impl CommandSpec {
    pub(super) const fn acl(mut self, names: &str) -> Self {
        self.categories = Categories::listed(names);
        self
    }

    const fn several(mut self, class: Class, cross: Cross) -> Self {
        self.class = class;
        self.cross = cross;
        self.target = Target::Slots;
        self.in_multi = InMulti::QueueOneSlot;
        self
    }

    const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    pub(super) const fn to(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    pub(super) const fn merge(mut self, merge: ResponsePolicy) -> Self {
        self.merge = merge;
        self
    }

    pub(super) const fn cross(mut self, cross: Cross) -> Self {
        self.cross = cross;
        self
    }

    pub(super) const fn one_slot(self) -> Self {
        self.cross(Cross::Error)
    }

    pub(super) const fn multi(mut self, in_multi: InMulti) -> Self {
        self.in_multi = in_multi;
        self
    }

    pub(super) const fn reads(mut self) -> Self {
        self.access = Access::Read;
        self
    }

    pub(super) const fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    pub(super) const fn may_block(mut self) -> Self {
        self.blocking = true;
        self
    }

    pub(super) const fn admin(mut self) -> Self {
        self.default = Availability::Admin;
        self
    }

    /// Whatever it is elsewhere: an error here. A standalone server queues `CLUSTER` commands in a
    /// transaction and refuses them in EXEC's array.
    pub(super) const fn refuse(mut self, refusal: Refusal) -> Self {
        self.retry = Retry::Local;
        self = self.class(Class::Refused).to(Target::Gateway).off(refusal);
        self.multi(if matches!(refusal, Refusal::Standalone) {
            InMulti::Splice
        } else {
            InMulti::Refuse
        })
    }

    pub(super) const fn off(mut self, refusal: Refusal) -> Self {
        self.default = Availability::Off;
        self.refusal = refusal;
        self
    }
}
