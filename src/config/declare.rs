//! One row per setting: the struct field, its default, its key in the file, its environment
//! variable, what is accepted and what the reference file says all come from that row.

use super::Settings;
use super::given::{Given, Wrong};

/// One setting, as `settings!` declares it.
pub struct Key {
    /// Table and name, such as `listen.address`.
    pub path: &'static str,
    /// Its sentences, one per line.
    pub docs: &'static [&'static str],
    /// What is accepted, in words.
    pub expects: fn() -> String,
    /// The value as the file would write it; a password shows as `***`.
    pub show: fn(&Settings) -> String,
    pub(super) set: fn(&mut Settings, &Given<'_>) -> Result<(), Vec<Wrong>>,
    pub(super) same: fn(&Settings, &Settings) -> bool,
    pub(super) copy: fn(&Settings, &mut Settings),
    /// Whether a change of it waits for a restart; all others hold from a reload on.
    pub needs_restart: bool,
}

impl Key {
    /// The environment variable, such as `SLOTWAY_LISTEN__ADDRESS`.
    pub fn variable(&self) -> String {
        format!("{}{}", super::VARIABLE_PREFIX, self.path.replace('.', "__").to_uppercase())
    }

    /// The table, such as `listen`.
    pub fn table(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(table, _)| table)
    }

    /// The name within its table, such as `address`.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// What stands at the end of a row: nothing, or the word `restart`. Another word does not compile.
pub(super) const fn needs_restart(word: &str) -> bool {
    match word.as_bytes() {
        b"" => false,
        b"restart" => true,
        _ => panic!("a row may end with `restart`"),
    }
}

/// `docs` `table: Table { docs name: Type = default, kind; ... }`, where the kind (`kind.rs`)
/// knows how a value is read, checked and shown. `, restart` behind the kind: a reload does not reach it.
macro_rules! settings {
    ($(
        $(#[doc = $table_doc:literal])+
        $table:ident: $Table:ident {
            $( $(#[doc = $doc:literal])+ $name:ident: $Type:ty = $default:expr, $kind:expr $(, $restart:ident)?; )+
        }
    )+) => {
        /// Everything that can be set. `Settings::default()` is what a gateway runs with when
        /// nothing is given.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Settings {
            $( $(#[doc = $table_doc])+ pub $table: $Table, )+
        }

        $(
            #[doc = concat!("`[", stringify!($table), "]`:")]
            $(#[doc = $table_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Table {
                $( $(#[doc = $doc])+ pub $name: $Type, )+
            }

            impl Default for $Table {
                fn default() -> Self {
                    Self { $( $name: $default, )+ }
                }
            }
        )+

        impl Settings {
            /// Every table with its sentences, in the order of the reference file.
            pub const TABLES: &'static [(&'static str, &'static [&'static str])] =
                &[$( (stringify!($table), &[$( $table_doc ),+]), )+];

            /// Every setting, in the order of the reference file.
            pub const KEYS: &'static [Key] = &[$($(
                Key {
                    path: concat!(stringify!($table), ".", stringify!($name)),
                    docs: &[$( $doc ),+],
                    expects: || Kind::<$Type>::expects(&$kind),
                    show: |settings| Kind::<$Type>::show(&$kind, &settings.$table.$name),
                    set: |settings, given| {
                        settings.$table.$name = Kind::<$Type>::read(&$kind, given)?;
                        Ok(())
                    },
                    same: |one, other| one.$table.$name == other.$table.$name,
                    copy: |from, to| to.$table.$name.clone_from(&from.$table.$name),
                    needs_restart: declare::needs_restart(stringify!($($restart)?)),
                },
            )+)+];
        }
    };
}

pub(super) use settings;
