use proptest::prelude::*;

use super::*;
use crate::resp::ReplyScanner;
use crate::resp::tree::{textless, trees};

#[test]
fn what_is_not_exactly_one_reply() {
    let table = [
        ("", ReplyError::Cut),
        ("+OK", ReplyError::Cut),
        ("+OK\r\n+OK\r\n", ReplyError::Trailing),
        ("$3\r\nab", ReplyError::Cut),
        ("$3\r\nabc", ReplyError::Cut),
        ("$3\r\nabcde", ReplyError::Trailer),
        ("$999999999999999999\r\n", ReplyError::Cut),
        ("*999999999999999999\r\n", ReplyError::Cut),
        ("*2\r\n:1\r\n", ReplyError::Cut),
        (":x\r\n", ReplyError::Value),
        (":01\r\n", ReplyError::Value),
        ("#x\r\n", ReplyError::Value),
        ("_x\r\n", ReplyError::Value),
        (",x\r\n", ReplyError::Value),
        ("=3\r\ntxt\r\n", ReplyError::Value),
        ("*?\r\n.x\r\n", ReplyError::Value),
        ("%-1\r\n", ReplyError::Length),
        ("?\r\n", ReplyError::Kind(b'?')),
    ];
    for (text, error) in table {
        assert_eq!(Value::parse(text.as_bytes()), Err(error), "{text:?}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}:1\r\n", "*1\r\n".repeat(depth));
    assert!(Value::parse(nested(DEPTH).as_bytes()).is_ok());
    assert_eq!(Value::parse(nested(DEPTH + 1).as_bytes()), Err(ReplyError::Depth));
    let attributes = "|0\r\n".repeat(DEPTH + 1);
    assert_eq!(Value::parse(attributes.as_bytes()), Err(ReplyError::Depth));
}

#[test]
fn fields_are_found_in_both_protocols() {
    for text in
        ["*4\r\n$2\r\nid\r\n:7\r\n$4\r\nname\r\n+x\r\n", "%2\r\n$2\r\nid\r\n:7\r\n+name\r\n+x\r\n"]
    {
        let value = Value::parse(text.as_bytes()).unwrap();
        assert_eq!(value.get("id").and_then(Value::as_integer), Some(7));
        assert_eq!(value.get("name").and_then(Value::as_str), Some("x"));
        assert_eq!(value.get("x"), None);
        assert_eq!(value.pairs().count(), 2);
    }
    assert_eq!(Value::Integer(1).pairs().count(), 0);
}

#[test]
fn accessors() {
    let error = Value::parse(b"-ERR x\r\n").unwrap();
    assert!(error.is_error());
    assert_eq!((error.as_error(), error.as_str()), (Some(&b"ERR x"[..]), None));
    assert_eq!(error.bytes(), Some(&b"ERR x"[..]));
    assert!(Value::parse(b"*-1\r\n").unwrap().is_null());
    assert_eq!(Value::parse(b"=7\r\ntxt:abc\r\n").unwrap().as_str(), Some("abc"));
    assert_eq!(Value::parse(b"$1\r\n\xff\r\n").unwrap().as_str(), None);
    assert_eq!(Value::parse(b"~1\r\n:1\r\n").unwrap().as_array(), Some(&[Value::Integer(1)][..]));
    assert_eq!(Value::parse(b":1\r\n").unwrap().bytes(), None);
    assert_eq!(Value::parse(b"(1  \r\n").unwrap().as_str(), Some("1  "));
}

proptest! {
    #[test]
    fn a_tree_comes_out_as_it_went_in(tree in trees()) {
        let bytes = tree.encoded();
        prop_assert_eq!(Value::parse(&bytes).map(textless), Ok(tree.value()));
        for cut in 0..bytes.len() {
            prop_assert_eq!(Value::parse(&bytes[..cut]), Err(ReplyError::Cut));
        }
    }

    #[test]
    fn a_reader_and_a_scanner_agree(bytes in prop::collection::vec(
        prop::sample::select(&b"*$+-:%~>|!=(,#_;.?\r\n\r\n\r\n0123ab"[..]), 0..60,
    )) {
        if Value::parse(&bytes).is_ok() {
            prop_assert_eq!(ReplyScanner::new().scan(&bytes), Ok(Some(bytes.len())));
        }
    }
}
