//! Distances on the earth, as the servers compute them.

/// Metres, as in the servers' `geohash_helper.c`.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// A longitude and a latitude, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Degrees to the east.
    pub longitude: f64,
    /// Degrees to the north.
    pub latitude: f64,
}

impl Point {
    /// Metres along the great circle. The order of the operations is the servers', so that the result is equal
    /// to the last bit.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        let (here, there) = (self.latitude * RADIANS, other.latitude * RADIANS);
        let u = ((there - here) / 2.0).sin();
        let v = ((other.longitude * RADIANS - self.longitude * RADIANS) / 2.0).sin();
        2.0 * EARTH_RADIUS * (u * u + here.cos() * there.cos() * v * v).sqrt().asin()
    }
}

/// How many metres the unit of that name has.
#[must_use]
pub fn metres(unit: &[u8]) -> Option<f64> {
    match unit.to_ascii_lowercase().as_slice() {
        b"m" => Some(1.0),
        b"km" => Some(1000.0),
        b"ft" => Some(0.3048),
        b"mi" => Some(1609.34),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manuals_example() {
        // GEODIST Sicily Palermo Catania
        let palermo = Point { longitude: 13.361389338970184, latitude: 38.1155563954963 };
        let catania = Point { longitude: 15.087267458438873, latitude: 37.50266842333162 };
        let distance = palermo.distance(catania);
        assert_eq!(format!("{distance:.4}"), "166274.1516");
        assert_eq!(distance.to_bits(), catania.distance(palermo).to_bits());
        assert_eq!(palermo.distance(palermo), 0.0);
    }

    #[test]
    fn units() {
        let table = [("m", Some(1.0)), ("KM", Some(1000.0)), ("mi", Some(1609.34)), ("x", None)];
        for (unit, expected) in table {
            assert_eq!(metres(unit.as_bytes()), expected);
        }
    }
}
