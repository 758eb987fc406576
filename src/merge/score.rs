//! How servers write floating-point numbers, and how they read them.

use crate::resp::write;

/// How many digits a server writes; that depends on its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// Always seventeen significant ones, `printf("%.17g")`: before 7.2.
    Seventeen,
    /// As few as tell the number from all others: since 7.2.
    Shortest,
}

impl Digits {
    /// The number as text.
    #[must_use]
    pub fn text(self, number: f64) -> String {
        match self {
            Self::Seventeen if number.is_finite() => seventeen(number),
            _ => write::shortest(number),
        }
    }
}

/// What `printf("%.17g")` writes for a finite number.
fn seventeen(number: f64) -> String {
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..17).contains(&exponent) {
        let decimals = usize::try_from(16 - exponent).unwrap_or(0);
        return without_zeros(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

/// Without zeros at the end of the fraction.
fn without_zeros(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// A number as the server's `strtod` reads a whole string: white space in front is passed over, nothing may
/// follow, and what is too large or too small for a double is refused, as is what is no number. Hexadecimal
/// notation, which `strtod` also knows, is not read.
#[must_use]
pub fn number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let number: f64 = text.parse().ok()?;
    let digits = text.split(['e', 'E']).next().unwrap_or_default();
    let out_of_range = match number {
        0.0 => digits.bytes().any(|byte| matches!(byte, b'1'..=b'9')),
        _ => number.is_infinite() && digits.bytes().any(|byte| byte.is_ascii_digit()),
    };
    (!number.is_nan() && !out_of_range).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seventeen_digits() {
        // Texts of printf("%.17g").
        let table: [(f64, &str); 20] = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.5, "-3.5"),
            (0.1, "0.10000000000000001"),
            (0.3, "0.29999999999999999"),
            (1.1, "1.1000000000000001"),
            (100.0, "100"),
            (123_456_789.25, "123456789.25"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (0.000_012_5, "1.2500000000000001e-05"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1e22, "1e+22"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1.5e300, "1.5000000000000001e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (4_479_735_735_441_451.0, "4479735735441451"),
        ];
        for (number, expected) in table {
            assert_eq!(Digits::Seventeen.text(number), expected);
        }
        assert_eq!(Digits::Shortest.text(0.1), "0.1");
    }

    #[test]
    fn both_forms_read_back_as_the_same_number() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let number = f64::from_bits(random.u64(..));
            if number.is_nan() {
                continue;
            }
            for digits in [Digits::Seventeen, Digits::Shortest] {
                let text = digits.text(number);
                assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{text}");
            }
        }
    }

    #[test]
    fn numbers_are_read_as_strtod_reads_them() {
        let table: [(&str, Option<f64>); 22] = [
            ("1", Some(1.0)),
            ("+1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            (" 2", Some(2.0)),
            ("\t\n2", Some(2.0)),
            ("2 ", None),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("nan", None),
            ("1e400", None),
            ("-1e400", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("0", Some(0.0)),
            ("-0.0", Some(0.0)),
            ("", None),
            ("abc", None),
            ("1a", None),
            ("1 2", None),
            ("--1", None),
        ];
        for (text, expected) in table {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        }
    }
}
