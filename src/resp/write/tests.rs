use proptest::prelude::*;

use super::*;
use crate::resp::Value;

type Writer = fn(&mut Vec<u8>, Protocol);

#[test]
fn what_depends_on_the_protocol() {
    let table: [(Writer, &str, &str); 10] = [
        (|out, version| map(out, version, 2), "*4\r\n", "%2\r\n"),
        (|out, version| set(out, version, 2), "*2\r\n", "~2\r\n"),
        (|out, version| push(out, version, 3), "*3\r\n", ">3\r\n"),
        (null, "$-1\r\n", "_\r\n"),
        (null_array, "*-1\r\n", "_\r\n"),
        (|out, version| boolean(out, version, true), ":1\r\n", "#t\r\n"),
        (|out, version| boolean(out, version, false), ":0\r\n", "#f\r\n"),
        (|out, version| double(out, version, 0.1), "$3\r\n0.1\r\n", ",0.1\r\n"),
        (|out, version| double_text(out, version, "1e5"), "$3\r\n1e5\r\n", ",1e5\r\n"),
        (
            |out, version| verbatim(out, version, "txt", "a\r\n"),
            "$3\r\na\r\n\r\n",
            "=7\r\ntxt:a\r\n\r\n",
        ),
    ];
    for (writer, two, three) in table {
        for (protocol, expected) in [(Protocol::Resp2, two), (Protocol::Resp3, three)] {
            let mut out = Vec::new();
            writer(&mut out, protocol);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

#[test]
fn what_does_not() {
    let mut out = Vec::new();
    simple(&mut out, "a\r\nb");
    error(&mut out, "ERR a\nb");
    bulk(&mut out, b"\r\n");
    integer(&mut out, i64::MIN);
    array(&mut out, 12);
    command(&mut out, &["GET", ""]);
    let expected = "+a  b\r\n-ERR a b\r\n$2\r\n\r\n\r\n:-9223372036854775808\r\n*12\r\n\
                    *2\r\n$3\r\nGET\r\n$0\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn doubles_as_servers_write_them() {
    let table = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-3.5, "-3.5"),
        (0.1, "0.1"),
        (1.0 / 3.0, "0.3333333333333333"),
        (1e7, "10000000"),
        (1e8, "1e+8"),
        (123_456_789.0, "123456789"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.000_001, "0.000001"),
        (0.000_000_1, "1e-7"),
        (1.5e-7, "1.5e-7"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ];
    for (number, expected) in table {
        assert_eq!(shortest(number), expected);
    }
}

proptest! {
    #[test]
    fn doubles_read_back_as_the_same(number in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL) {
        let mut out = Vec::new();
        double(&mut out, Protocol::Resp3, number);
        match Value::parse(&out) {
            Ok(Value::Double { number: read, .. }) => prop_assert_eq!(read.to_bits(), number.to_bits()),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
