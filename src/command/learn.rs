//! Reading a server's `COMMAND` reply: commands that are newer than the table, or a module's.

use super::keys::{Begin, Find, KeyPart};
use super::{Access, Categories, Class, CommandSpec, InMulti, KeySpec, Need, Role};
use crate::resp::Value;

/// Every command and subcommand that the reply to `COMMAND` describes. Entries that are not
/// understood are left out.
#[must_use]
pub fn learn(reply: &Value<'_>) -> Vec<CommandSpec> {
    let mut learned = Vec::new();
    for entry in reply.as_array().unwrap_or_default() {
        let subcommands = entry.as_array().and_then(|fields| fields.get(9)?.as_array());
        for entry in std::iter::once(entry).chain(subcommands.unwrap_or_default()) {
            learned.extend(command(entry));
        }
    }
    learned
}

fn command(entry: &Value<'_>) -> Option<CommandSpec> {
    let [name, arity, flags, first, last, step, rest @ ..] = entry.as_array()? else { return None };
    let has = |flag| words(flags).any(|word| word == flag);
    let parts = match rest.get(2).and_then(Value::as_array) {
        Some(specs) => specs.iter().map(part).collect(),
        None if has("movablekeys") => vec![UNKNOWN],
        None => range(first, last, step).into_iter().collect(),
    };
    let access = match (has("write"), has("readonly")) {
        (true, _) => Access::Write,
        (_, true) => Access::Read,
        // Scripts are flagged neither way, but their keys are.
        _ if parts.iter().any(|part| part.need.is_some_and(writes)) => Access::Write,
        _ => Access::Neither,
    };
    let default_need = if access == Access::Read { Need::READ } else { Need::all() };
    let arity = i16::try_from(arity.as_integer()?).ok()?;
    let keys = KeySpec::learned(parts, default_need);
    let mut spec = CommandSpec::learned(name.as_str()?, arity, access, keys);
    if let Some(names) = rest.first() {
        spec.categories = categories(names);
    }
    if has("blocking") && spec.class == Class::Keyed {
        spec.class = Class::Block;
        spec.blocking = true;
        spec.in_multi = InMulti::NonBlocking;
    }
    Some(spec)
}

const UNKNOWN: KeyPart = KeyPart::new(Begin::Unknown, Find::ONE);

fn words<'v>(list: &'v Value<'_>) -> impl Iterator<Item = &'v str> {
    list.as_array().unwrap_or_default().iter().filter_map(Value::as_str)
}

fn writes(need: Need) -> bool {
    need.contains(Need::WRITE)
}

fn categories(names: &Value<'_>) -> Categories {
    words(names).filter_map(|name| Categories::named(name.strip_prefix('@')?)).collect()
}

/// First, last and step, as servers before 7.0 have them.
fn range(first: &Value<'_>, last: &Value<'_>, step: &Value<'_>) -> Option<KeyPart> {
    let first = small(first).filter(|&first| first > 0)?;
    let last = i16::try_from(last.as_integer()?).ok()?;
    let last = if last < 0 { last } else { last - i16::from(first) };
    Some(KeyPart::new(Begin::At(first), Find::Run { last, step: small(step)?, share: 1 }))
}

/// A key specification; what cannot be followed becomes one that asks the server.
fn part(spec: &Value<'_>) -> KeyPart {
    let has = |flag| spec.get("flags").is_some_and(|flags| words(flags).any(|word| word == flag));
    let found = begin(spec).zip(find(spec)).filter(|_| !has("incomplete"));
    let Some((begin, find)) = found else { return UNKNOWN };
    let mut need = Need::empty();
    need.set(Need::READ, has("access"));
    need.set(Need::WRITE, has("insert") || has("update") || has("delete"));
    let role = if has("not_key") { Role::Channel } else { Role::Key };
    KeyPart::new(begin, find).role(role).need(need)
}

fn begin(spec: &Value<'_>) -> Option<Begin> {
    let search = spec.get("begin_search")?;
    let detail = search.get("spec")?;
    match search.get("type")?.as_str()? {
        "index" => Some(Begin::At(small(detail.get("index")?)?)),
        "keyword" => {
            let from = i16::try_from(detail.get("startfrom")?.as_integer()?).ok()?;
            Some(Begin::Keyword(detail.get("keyword")?.as_str()?.to_owned().into(), from))
        }
        _ => None,
    }
}

fn find(spec: &Value<'_>) -> Option<Find> {
    let search = spec.get("find_keys")?;
    let detail = search.get("spec")?;
    let step = small(detail.get("keystep")?)?;
    match search.get("type")?.as_str()? {
        "range" => {
            let last = i16::try_from(detail.get("lastkey")?.as_integer()?).ok()?;
            Some(Find::Run { last, step, share: small(detail.get("limit")?)?.max(1) })
        }
        "keynum" => {
            let usual =
                small(detail.get("keynumidx")?)? == 0 && small(detail.get("firstkey")?)? == 1;
            usual.then_some(Find::Count { step })
        }
        _ => None,
    }
}

fn small(number: &Value<'_>) -> Option<u8> {
    u8::try_from(number.as_integer()?).ok()
}
