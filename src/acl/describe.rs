//! Rules as text, in the form of the users file, in which the servers also show them.

use crate::command::{Categories, CommandSpec, Commands, Need};

use bitflags::Flags;

use super::bitmap::Bitmap;
use super::error::Wording;
use super::patterns::Rule;
use super::selector::Selector;

/// A set of rules as `ACL GETUSER` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `-@all +get`
    pub commands: String,
    /// `~app:* %R~config:*`
    pub keys: Vec<u8>,
    /// `&news:*`
    pub channels: Vec<u8>,
}

/// Servers of version 7.0 have these rows, and compute their descriptions with them.
const COMPUTED_WITH: &str = "7.0";

/// The words of the three kinds of rules.
struct Words {
    keys: Vec<Vec<u8>>,
    channels: Vec<Vec<u8>>,
    commands: Vec<String>,
}

impl Selector {
    pub(super) fn describe(&self, wording: Wording, commands: &Commands) -> Description {
        let Words { keys, channels, commands } = self.words(wording, commands);
        Description {
            commands: commands.join(" "),
            keys: keys.join(&b' '),
            channels: channels.join(&b' '),
        }
    }

    /// The rules one after the other, as the users file has them.
    pub(super) fn line(&self, wording: Wording, commands: &Commands) -> Vec<u8> {
        self.all_words(wording, commands).join(&b' ')
    }

    /// The same in parentheses, where quotes have a meaning and a closing one ends it all. A word with either is
    /// quoted; servers do not do that, and then read something else than they wrote.
    pub(super) fn enclosed_line(&self, wording: Wording, commands: &Commands) -> Vec<u8> {
        let words = self.all_words(wording, commands).into_iter().map(quoted);
        [b"(", words.collect::<Vec<_>>().join(&b' ').as_slice(), b")"].concat()
    }

    fn all_words(&self, wording: Wording, commands: &Commands) -> Vec<Vec<u8>> {
        let Words { keys, channels, commands } = self.words(wording, commands);
        let reset = (!self.all_channels).then(|| b"resetchannels".to_vec());
        let commands = commands.into_iter().map(String::into_bytes);
        keys.into_iter().chain(reset).chain(channels).chain(commands).collect()
    }

    fn words(&self, wording: Wording, commands: &Commands) -> Words {
        let keys = match self.all_keys {
            true => vec![b"~*".to_vec()],
            false => self.keys.as_given().into_iter().map(key_rule).collect(),
        };
        let channels = match self.all_channels {
            true => vec![b"&*".to_vec()],
            false => self.channels.as_given().into_iter().map(channel_rule).collect(),
        };
        let base = if self.allowed.has_future() { "+@all" } else { "-@all" };
        let rules = match wording {
            Wording::New => self.given.clone(),
            Wording::Old => Search::of(self, commands).run(),
        };
        Words { keys, channels, commands: std::iter::once(base.to_owned()).chain(rules).collect() }
    }
}

fn quoted(word: Vec<u8>) -> Vec<u8> {
    if !word.ends_with(b")") && !word.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return word;
    }
    let mut text = vec![b'"'];
    for byte in word {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
    text
}

fn key_rule(rule: &Rule) -> Vec<u8> {
    let sign: &[u8] = match (rule.need.contains(Need::READ), rule.need.contains(Need::WRITE)) {
        (true, true) => b"~",
        (true, false) => b"%R~",
        (false, _) => b"%W~",
    };
    [sign, rule.pattern.text()].concat()
}

fn channel_rule(rule: &Rule) -> Vec<u8> {
    [b"&", rule.pattern.text()].concat()
}

/// The search of a 7.0 server for a short description of what is allowed. From all or from nothing it goes on
/// by the category that leaves the fewest commands to be named, while there is one of which more commands
/// agree than not, and then names what is left.
struct Search<'a> {
    selector: &'a Selector,
    commands: &'a Commands,
    /// What the rules found so far come to.
    reached: Selector,
    /// What is not explained by a category yet.
    left: Selector,
    rules: Vec<String>,
    /// Rules are added to nothing, rather than taken from all.
    additive: bool,
}

/// A category and the commands of a 7.0 server that it has.
type Category = (Categories, Bitmap);

impl<'a> Search<'a> {
    fn of(selector: &'a Selector, commands: &'a Commands) -> Self {
        let additive = !selector.allowed.has_future();
        let mut reached = Selector::closed();
        reached.allowed = if additive { Bitmap::NONE } else { Bitmap::ALL };
        let left = Selector { allowed: selector.allowed.clone(), ..Selector::closed() };
        Self { selector, commands, reached, left, rules: Vec::new(), additive }
    }

    fn run(mut self) -> Vec<String> {
        let all = Categories::FLAGS.iter().map(|flag| *flag.value());
        let mut categories: Vec<Category> = all.map(|one| (one, self.of_category(one))).collect();
        while let Some(best) = self.best(&categories) {
            categories.retain(|(category, _)| *category != best);
            self.reached.change_category(best, self.additive, self.commands);
            self.left.change_category(best, !self.additive, self.commands);
            self.rule(self.additive, &format!("@{}", best.label()));
        }
        for spec in self.rows().filter(|spec| !spec.name.contains(' ')) {
            self.name(spec);
        }
        self.name_newer();
        self.rules
    }

    fn rows(&self) -> impl Iterator<Item = &'a CommandSpec> + use<'a> {
        self.commands.iter().filter(|spec| spec.since == COMPUTED_WITH)
    }

    fn of_category(&self, category: Categories) -> Bitmap {
        let mut map = Bitmap::NONE;
        for spec in self.rows().filter(|spec| spec.categories.contains(category)) {
            map.set(spec.number, true);
        }
        map
    }

    fn best(&self, categories: &[Category]) -> Option<Categories> {
        let mut best = None;
        let (mut fewest, mut most) = (u32::MAX, 0);
        for (category, commands) in categories {
            let on = commands.in_common(&self.left.allowed);
            let off = commands.in_common(&Bitmap::ALL) - on;
            let (same, different) = if self.additive { (on, off) } else { (off, on) };
            let better = different < fewest || (different == fewest && same > most);
            if same > different && better {
                (best, fewest, most) = (Some(*category), different, same);
            }
        }
        best
    }

    /// Names a command and what it contains, as far as the rules found so far are wrong about them.
    fn name(&mut self, spec: &CommandSpec) {
        let allowed = self.name_one(spec);
        let subcommands = self.commands.subcommands(spec);
        for subcommand in subcommands.filter(|spec| spec.since == COMPUTED_WITH) {
            self.name_one(subcommand);
        }
        if !allowed {
            let arguments = &self.selector.first_arguments;
            for (_, argument) in arguments.iter().filter(|(number, _)| *number == spec.number) {
                let argument = String::from_utf8_lossy(argument);
                self.rules.push(format!("+{}|{argument}", spec.wire_name()));
            }
        }
    }

    fn name_one(&mut self, spec: &CommandSpec) -> bool {
        let allowed = self.selector.allowed.has(spec.number);
        if allowed != self.reached.allowed.has(spec.number) {
            self.rule(allowed, &spec.wire_name());
            self.reached.change(spec, allowed, self.commands);
        }
        allowed
    }

    /// Commands that a 7.0 server does not have are named only where a rule named them.
    fn name_newer(&mut self) {
        let is_newer = |rule: &&String| {
            let spec = rule.get(1..).and_then(|name| self.commands.find(name));
            spec.is_some_and(|spec| spec.since != COMPUTED_WITH)
        };
        self.rules.extend(self.selector.given.iter().filter(is_newer).cloned());
    }

    fn rule(&mut self, allowed: bool, what: &str) {
        self.rules.push(format!("{}{what}", if allowed { '+' } else { '-' }));
    }
}
