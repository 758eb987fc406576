//! Kinds of values: how each is read, checked, described and shown.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

mod rate;
mod several;

use super::Secret;
use super::given::{Given, Wrong};

pub(super) use rate::PerSecond;
pub use rate::Rate;
pub(super) use several::{List, Maybe, Pairs};

/// What a row of `settings!` names beside its default.
pub(super) trait Kind<T> {
    /// What is accepted, in words that follow "must be".
    fn expects(&self) -> String;

    /// The value, or what stood there instead: one entry for each wrong element of a list.
    fn read(&self, given: &Given<'_>) -> Result<T, Vec<Wrong>>;

    /// The value as the settings file writes it.
    fn show(&self, value: &T) -> String;
}

/// An address and a port.
pub(super) struct Address;
/// A whole number within bounds.
pub(super) struct Count(pub(super) RangeInclusive<u64>);
/// A size within bounds.
pub(super) struct Bytes(pub(super) RangeInclusive<usize>);
/// A duration within bounds.
pub(super) struct Time(pub(super) RangeInclusive<Duration>);
/// A number from 0 to 1.
pub(super) struct Share;
/// True or false.
pub(super) struct Truth;
/// One of the words of a type.
pub(super) struct OneOf;
/// Any text.
pub(super) struct Text;
/// A password: never shown, not even when it is wrong.
pub(super) struct Hidden;
/// Levels of the log.
pub(super) struct Filter;
/// Where a node is.
pub(super) struct HostPort;
/// A network of IP addresses.
pub(super) struct Network;
/// Permissions of a file.
pub(super) struct Mode;

/// A type that is written as one of a few words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Each word with its value.
    const WORDS: &'static [(&'static str, Self)];
}

impl Kind<SocketAddr> for Address {
    fn expects(&self) -> String {
        "an IP address and a port such as \"127.0.0.1:6379\"".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<SocketAddr, Vec<Wrong>> {
        given.accept(given.parsed())
    }

    fn show(&self, value: &SocketAddr) -> String {
        format!("\"{value}\"")
    }
}

impl Kind<IpNet> for Network {
    fn expects(&self) -> String {
        "a network such as \"10.0.0.0/8\", or one IP address".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<IpNet, Vec<Wrong>> {
        let one = given.parsed::<IpAddr>().map(IpNet::from);
        given.accept(one.or_else(|| given.parsed()))
    }

    fn show(&self, value: &IpNet) -> String {
        format!("\"{value}\"")
    }
}

impl Kind<u32> for Mode {
    fn expects(&self) -> String {
        "permissions in octal digits such as \"770\"".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<u32, Vec<Wrong>> {
        let mode = given.text().and_then(|digits| u32::from_str_radix(digits, 8).ok());
        given.accept(mode.filter(|mode| *mode <= 0o777))
    }

    fn show(&self, value: &u32) -> String {
        format!("\"{value:o}\"")
    }
}

impl<T: TryFrom<u64> + Display> Kind<T> for Count {
    fn expects(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }

    fn read(&self, given: &Given<'_>) -> Result<T, Vec<Wrong>> {
        let within = given.whole().filter(|count| self.0.contains(count));
        given.accept(within.and_then(|count| T::try_from(count).ok()))
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

impl Kind<usize> for Bytes {
    fn expects(&self) -> String {
        let [start, end] = [self.0.start(), self.0.end()].map(|size| self.show(size));
        format!("a size in bytes from {start} to {end}")
    }

    fn read(&self, given: &Given<'_>) -> Result<usize, Vec<Wrong>> {
        let size = match given.whole() {
            Some(bytes) => usize::try_from(bytes).ok(),
            None => given.text().and_then(size_from_text),
        };
        given.accept(size.filter(|size| self.0.contains(size)))
    }

    fn show(&self, value: &usize) -> String {
        let unit = UNITS.iter().find(|(_, bytes)| *value != 0 && value.is_multiple_of(*bytes));
        match unit {
            Some((name, bytes)) => format!("\"{}{name}\"", value / bytes),
            None => value.to_string(),
        }
    }
}

/// Units of size, largest first.
const UNITS: [(&str, usize); 4] =
    [("TiB", super::TIB), ("GiB", super::GIB), ("MiB", super::MIB), ("KiB", super::KIB)];

fn size_from_text(text: &str) -> Option<usize> {
    let (number, unit) =
        UNITS.iter().find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)))?;
    number.trim_end().parse::<usize>().ok()?.checked_mul(unit)
}

impl Kind<Duration> for Time {
    fn expects(&self) -> String {
        let [start, end] = [self.0.start(), self.0.end()].map(|time| self.show(time));
        format!("a duration from {start} to {end}")
    }

    fn read(&self, given: &Given<'_>) -> Result<Duration, Vec<Wrong>> {
        let time = given.text().and_then(|text| humantime::parse_duration(text).ok());
        given.accept(time.filter(|time| self.0.contains(time)))
    }

    fn show(&self, value: &Duration) -> String {
        format!("\"{}\"", humantime::format_duration(*value))
    }
}

impl Kind<f64> for Share {
    fn expects(&self) -> String {
        "a number from 0 to 1".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<f64, Vec<Wrong>> {
        let share = match given {
            Given::Typed(value) => match value.get_ref() {
                DeValue::Float(number) => number.as_str().parse().ok(),
                DeValue::Integer(number) => number.as_str().parse().ok(),
                _ => None,
            },
            Given::Text(text) => text.parse().ok(),
        };
        given.accept(share.filter(|share| (0.0..=1.0).contains(share)))
    }

    fn show(&self, value: &f64) -> String {
        format!("{value:?}")
    }
}

impl Kind<bool> for Truth {
    fn expects(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<bool, Vec<Wrong>> {
        given.accept(match given {
            Given::Typed(value) => value.get_ref().as_bool(),
            Given::Text(text) => text.parse().ok(),
        })
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

impl<T: Word> Kind<T> for OneOf {
    fn expects(&self) -> String {
        let words: Vec<String> = T::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        super::mistake::alternatives(&words)
    }

    fn read(&self, given: &Given<'_>) -> Result<T, Vec<Wrong>> {
        let found = T::WORDS.iter().find(|(word, _)| given.text() == Some(word));
        given.accept(found.map(|(_, value)| *value))
    }

    fn show(&self, value: &T) -> String {
        let word = T::WORDS.iter().find(|(_, one)| one == value).map_or("", |(word, _)| word);
        format!("\"{word}\"")
    }
}

impl Kind<String> for Text {
    fn expects(&self) -> String {
        "text".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<String, Vec<Wrong>> {
        given.accept(given.text().map(str::to_owned))
    }

    fn show(&self, value: &String) -> String {
        format!("{value:?}")
    }
}

impl Kind<Secret> for Hidden {
    fn expects(&self) -> String {
        "text".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<Secret, Vec<Wrong>> {
        match (given.text(), given) {
            (Some(text), _) => Ok(Secret::new(text)),
            (None, Given::Typed(value)) => {
                let found = format!("a value of type {}", value.get_ref().type_str());
                Err(vec![Wrong { found, at: Some(value.span()) }])
            }
            (None, Given::Text(_)) => Err(Vec::new()),
        }
    }

    fn show(&self, value: &Secret) -> String {
        if value.is_empty() { "\"\"" } else { "***" }.to_owned()
    }
}

impl Kind<String> for Filter {
    fn expects(&self) -> String {
        "levels (error, warn, info, debug, trace, off) such as \"info\" or \
         \"info,slotway::backend=debug\""
            .to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<String, Vec<Wrong>> {
        let sound = |text: &&str| text.split(',').all(is_directive);
        given.accept(given.text().filter(sound).map(str::to_owned))
    }

    fn show(&self, value: &String) -> String {
        Text.show(value)
    }
}

/// Stricter than the subscriber, which takes a mistyped level for the name of a target and then
/// logs nothing else.
fn is_directive(part: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let (target, level) = part.split_once('=').unwrap_or(("all", part));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !target.is_empty() && target.chars().all(plain) && LEVELS.contains(&level)
}

impl Kind<String> for HostPort {
    fn expects(&self) -> String {
        "`host:port` such as \"10.0.0.1:7000\" or \"[::1]:7000\"".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<String, Vec<Wrong>> {
        given.accept(given.text().filter(|text| is_host_port(text)).map(str::to_owned))
    }

    fn show(&self, value: &String) -> String {
        Text.show(value)
    }
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_sound = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(plain)
        }
    };
    host_is_sound
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}
