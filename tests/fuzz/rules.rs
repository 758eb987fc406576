//! ACL rules and users files: whatever they are, they are taken or refused, and what is taken means the same
//! when it is written and read again.

use slotway::acl::{Users, Wording};
use slotway::command::Commands;
use slotway::config::Auth;

use crate::random::Random;

const RULES: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    ">pw",
    "<pw",
    "#",
    "!",
    "reset",
    "clearselectors",
    "allkeys",
    "~app:*",
    "%R~a",
    "%W~[b-",
    "%RW~\\",
    "%~",
    "&news:*",
    "&*",
    "~*",
    "resetkeys",
    "resetchannels",
    "+@all",
    "-@all",
    "+@read",
    "-@dangerous",
    "+get",
    "-set",
    "+config|get",
    "+select|0",
    "+config",
    "(",
    ")",
    "(~x",
    "+get)",
    "(~x +@all)",
    "(\"",
    "+client|",
    "-|",
    "",
    "user",
    "default",
    "#c",
];

fn rule(random: &mut Random) -> Vec<u8> {
    let mut rule =
        if random.once_in(8) { random.bytes(40) } else { random.pick(RULES).as_bytes().to_vec() };
    if random.once_in(4) {
        random.damage(&mut rule);
    }
    rule
}

fn rules(random: &mut Random) -> Vec<Vec<u8>> {
    (0..random.below(12)).map(|_| rule(random)).collect()
}

/// Rules one after the other; a refusal leaves the user as it was.
pub(crate) fn as_given(random: &mut Random) {
    let commands = Commands::baseline();
    let auth = Auth::default();
    let mut users = Users::new(&auth);
    for _ in 0..3 {
        let rules = rules(random);
        let name = if random.once_in(5) { rule(random) } else { b"u".to_vec() };
        match users.with(&name, rules.iter().map(Vec::as_slice), &commands) {
            Ok(changed) => users = changed,
            Err(error) => assert!(error.line().starts_with(b"ERR ")),
        }
    }
    for user in users.iter() {
        user.line(Wording::Old, &commands);
    }
    let file = users.file(&commands);
    let again = Users::read(&file, &auth, &commands).unwrap_or_else(|errors| {
        panic!("{errors:?} in {}", file.escape_ascii());
    });
    assert_eq!(again.file(&commands).escape_ascii().to_string(), file.escape_ascii().to_string());
}

/// A users file of any bytes.
pub(crate) fn in_files(random: &mut Random) {
    let mut file = Vec::new();
    for number in 0..random.below(6) {
        let mut line = format!("user u{number} ").into_bytes();
        line.extend(rules(random).join(&b' '));
        if random.once_in(6) {
            random.damage(&mut line);
        }
        file.extend(line);
        file.push(b'\n');
    }
    let (commands, auth) = (Commands::baseline(), Auth::default());
    match Users::read(&file, &auth, &commands) {
        Ok(users) => assert!(Users::read(&users.file(&commands), &auth, &commands).is_ok()),
        Err(errors) => {
            let lines = file.split(|byte| *byte == b'\n').count();
            assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));
        }
    }
}
