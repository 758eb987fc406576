//! A set of rules that must hold together: these commands on these keys and channels.

use crate::command::{Categories, CommandSpec, Commands, Key, KeyError, Need, Role};
use crate::resp::Request;

use super::bitmap::Bitmap;
use super::error::{Denied, RuleError, shown};
use super::patterns::Patterns;

const BOTH: Need = Need::READ.union(Need::WRITE);

/// Rules as given, and what they come to.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    pub(super) allowed: Bitmap,
    /// First arguments that open a command which the map closes (`+select|0`), by its number.
    pub(super) first_arguments: Vec<(u16, Vec<u8>)>,
    pub(super) all_keys: bool,
    pub(super) keys: Patterns,
    pub(super) all_channels: bool,
    pub(super) channels: Patterns,
    /// Rules about commands since the last `+@all` or `-@all`, in lower case, without those that later
    /// ones made void. They, not the map, are what is saved: a newer table has more commands.
    pub(super) given: Vec<String>,
}

impl Selector {
    /// Nothing is allowed.
    pub(super) fn closed() -> Self {
        Self {
            allowed: Bitmap::NONE,
            first_arguments: Vec::new(),
            all_keys: false,
            keys: Patterns::default(),
            all_channels: false,
            channels: Patterns::default(),
            given: Vec::new(),
        }
    }

    /// Everything is allowed.
    pub(super) fn open() -> Self {
        Self { allowed: Bitmap::ALL, all_keys: true, all_channels: true, ..Self::closed() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.allowed == Bitmap::ALL && self.all_keys && self.all_channels
    }

    /// Takes one more rule.
    pub(super) fn apply(&mut self, rule: &[u8], commands: &Commands) -> Result<(), RuleError> {
        // The servers read words up to a zero byte.
        let word = shown(rule).to_ascii_lowercase();
        match word.as_slice() {
            b"allkeys" | b"~*" => self.set_all_keys(true),
            b"resetkeys" => self.set_all_keys(false),
            b"allchannels" | b"&*" => self.set_all_channels(true),
            b"resetchannels" => self.set_all_channels(false),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            [b'~' | b'%', ..] => return self.add_keys(rule),
            [b'&', ..] => return self.add_channels(rule),
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                return self.set_category(category, *sign == b'+', commands);
            }
            [b'+', ..] => return self.allow(shown(rule).get(1..).unwrap_or_default(), commands),
            [b'-', name @ ..] => {
                let spec = find(name, commands)?;
                self.set_command(spec, false, commands);
            }
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn set_all_keys(&mut self, all: bool) {
        self.all_keys = all;
        self.keys.clear();
    }

    fn set_all_channels(&mut self, all: bool) {
        self.all_channels = all;
        self.channels.clear();
    }

    fn set_all_commands(&mut self, all: bool) {
        self.allowed = if all { Bitmap::ALL } else { Bitmap::NONE };
        self.first_arguments.clear();
        self.given.clear();
    }

    /// `~pattern`, `%R~pattern`, `%W~pattern` or `%RW~pattern`.
    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeys);
        }
        let (need, text) = key_rule(rule).ok_or(RuleError::Syntax)?;
        if has_space(text) {
            return Err(RuleError::Syntax);
        }
        self.keys.add(text, need);
        Ok(())
    }

    /// `&pattern`.
    fn add_channels(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannels);
        }
        let text = rule.get(1..).unwrap_or_default();
        if has_space(text) {
            return Err(RuleError::Syntax);
        }
        self.channels.add(text, Need::empty());
        Ok(())
    }

    /// `+command`, `+command|subcommand` or `+command|argument`.
    fn allow(&mut self, name: &[u8], commands: &Commands) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let spec = find(name, commands)?;
            self.set_command(spec, true, commands);
            return Ok(());
        };
        let (command, argument) = name.split_at(bar);
        let argument = argument.get(1..).unwrap_or_default();
        let spec = find(command, commands)?;
        if spec.name.contains(' ') {
            return Err(RuleError::FirstArgument);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if commands.subcommands(spec).next().is_some() {
            let spec = find(name, commands)?;
            self.set_command(spec, true, commands);
            return Ok(());
        }
        // Servers take these, but then write a users file that means something else.
        let text = std::str::from_utf8(name).ok().filter(|_| !has_space(argument));
        let text = text.ok_or(RuleError::Syntax)?;
        if !self.opens(spec, argument) {
            self.first_arguments.push((spec.number, argument.to_vec()));
        }
        self.keep(true, &text.to_ascii_lowercase());
        Ok(())
    }

    /// A command, and with a container all that it contains.
    fn set_command(&mut self, spec: &CommandSpec, allowed: bool, commands: &Commands) {
        self.change(spec, allowed, commands);
        self.keep(allowed, &spec.wire_name());
    }

    /// The same without a trace among the given rules.
    pub(super) fn change(&mut self, spec: &CommandSpec, allowed: bool, commands: &Commands) {
        self.allowed.set(spec.number, allowed);
        self.first_arguments.retain(|(number, _)| *number != spec.number);
        for subcommand in commands.subcommands(spec) {
            self.allowed.set(subcommand.number, allowed);
        }
    }

    /// `+@category` or `-@category`; the name is in lower case.
    fn set_category(
        &mut self,
        name: &[u8],
        allowed: bool,
        commands: &Commands,
    ) -> Result<(), RuleError> {
        let name = std::str::from_utf8(name).map_err(|_| RuleError::Unknown)?;
        let category = Categories::named(name).ok_or(RuleError::Unknown)?;
        self.change_category(category, allowed, commands);
        self.keep(allowed, &format!("@{name}"));
        Ok(())
    }

    /// As in the servers, a container of the category brings all that it contains, whatever categories its
    /// subcommands are in.
    pub(super) fn change_category(
        &mut self,
        category: Categories,
        allowed: bool,
        commands: &Commands,
    ) {
        for spec in commands.iter() {
            let own = spec.categories.contains(category);
            let container = spec.name.split_once(' ').and_then(|(name, _)| commands.find(name));
            if own || container.is_some_and(|spec| spec.categories.contains(category)) {
                self.allowed.set(spec.number, allowed);
            }
            if own {
                self.first_arguments.retain(|(number, _)| *number != spec.number);
            }
        }
    }

    /// Notes a rule about a module's command that nobody knows yet: it holds once a node tells of it.
    pub(super) fn await_command(&mut self, rule: &[u8]) -> bool {
        let Ok(rule) = std::str::from_utf8(rule) else { return false };
        let Some((sign, name)) = rule.split_at_checked(1) else { return false };
        // Modules name their commands so, and nobody else does.
        let is_module = name.contains('.') && !name.contains('|') && !has_space(name.as_bytes());
        if matches!(sign, "+" | "-") && is_module {
            self.keep(sign == "+", &name.to_ascii_lowercase());
            return true;
        }
        false
    }

    /// Works the rules about commands out again, with more commands than there were.
    pub(super) fn reconsider(&mut self, commands: &Commands) {
        let given = self.given.clone();
        self.set_all_commands(self.allowed.has_future());
        for rule in given {
            if self.apply(rule.as_bytes(), commands).is_err() {
                self.await_command(rule.as_bytes());
            }
        }
    }

    /// Notes a rule and forgets those that it makes void: the same command, and what belongs to it.
    fn keep(&mut self, allowed: bool, name: &str) {
        self.given.retain(|rule| {
            let old = rule.get(1..).unwrap_or_default();
            let rest = old.strip_prefix(name);
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        self.given.push(format!("{}{name}", if allowed { '+' } else { '-' }));
    }

    /// Whether these rules allow the request.
    pub(super) fn check(&self, spec: &CommandSpec, request: &Request<'_>) -> Result<(), Denied> {
        if !self.allows(spec, request) {
            return Err(Denied::Command);
        }
        if !self.all_keys && !spec.keys.is_none() {
            self.check_keys(spec, request)?;
        }
        if !self.all_channels && spec.categories.contains(Categories::PUBSUB) {
            self.check_channels(spec, request)?;
        }
        Ok(())
    }

    #[inline]
    fn allows(&self, spec: &CommandSpec, request: &Request<'_>) -> bool {
        self.allowed.has(spec.number)
            || spec.needs_no_login()
            || request.arg(1).is_some_and(|argument| self.opens(spec, argument))
    }

    fn opens(&self, spec: &CommandSpec, argument: &[u8]) -> bool {
        self.first_arguments
            .iter()
            .any(|(number, word)| *number == spec.number && word.eq_ignore_ascii_case(argument))
    }

    fn check_keys(&self, spec: &CommandSpec, request: &Request<'_>) -> Result<(), Denied> {
        let mut denied = None;
        let found = spec.keys(request, |key| {
            if denied.is_none() && !self.may_touch(key, request) {
                denied = Some(Denied::Key(key.at));
            }
        });
        match found {
            Ok(()) => denied.map_or(Ok(()), Err),
            // The node answers such a request with an error before it looks at any key.
            Err(KeyError::Count) => Ok(()),
            Err(KeyError::Unknown) => Err(Denied::Key(0)),
        }
    }

    fn may_touch(&self, key: Key, request: &Request<'_>) -> bool {
        if key.role == Role::Channel {
            return true;
        }
        self.keys.match_any(request.arg(key.at).unwrap_or_default(), key.need)
    }

    /// Whether any key at all may be used so. As in the servers, only the pattern `*` says that.
    pub(super) fn may_touch_all(&self, need: Need) -> bool {
        self.all_keys || self.keys.has(b"*", need)
    }

    fn check_channels(&self, spec: &CommandSpec, request: &Request<'_>) -> Result<(), Denied> {
        let (most, literal) = match &*spec.name {
            "PUBLISH" | "SPUBLISH" => (1, false),
            "SUBSCRIBE" | "SSUBSCRIBE" => (usize::MAX, false),
            "PSUBSCRIBE" => (usize::MAX, true),
            // Whoever leaves a channel, or counts, needs no right to it.
            _ => return Ok(()),
        };
        let mut channels = request.args().enumerate().skip(1).take(most);
        match channels.find(|(_, channel)| !self.may_use_channel(channel, literal)) {
            Some((at, _)) => Err(Denied::Channel(at)),
            None => Ok(()),
        }
    }

    /// A pattern that is subscribed to is allowed only if it is one of the rules, letter for letter.
    pub(super) fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let known = if is_pattern { Patterns::has } else { Patterns::match_any };
        self.all_channels || known(&self.channels, channel, Need::empty())
    }
}

/// The row of a command or of a subcommand, named as in rules: `config|get`.
fn find<'c>(name: &[u8], commands: &'c Commands) -> Result<&'c CommandSpec, RuleError> {
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains(' '));
    name.and_then(|name| commands.find(name)).ok_or(RuleError::Unknown)
}

fn key_rule(rule: &[u8]) -> Option<(Need, &[u8])> {
    let [b'%', letters @ ..] = rule else {
        return Some((BOTH, rule.get(1..)?));
    };
    // As in the servers, a rule without `~` has the empty pattern.
    let tilde = letters.iter().position(|byte| *byte == b'~').unwrap_or(letters.len());
    let (letters, pattern) = letters.split_at_checked(tilde)?;
    let need = match letters.to_ascii_uppercase().as_slice() {
        b"R" => Need::READ,
        b"W" => Need::WRITE,
        b"RW" | b"WR" => BOTH,
        _ => return None,
    };
    Some((need, pattern.get(1..).unwrap_or_default()))
}

/// Whether it has a space as the C library counts them, or a zero byte.
pub(super) fn has_space(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}
