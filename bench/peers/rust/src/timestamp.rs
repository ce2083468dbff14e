//! Timestamps: RFC 3339 on the way in, UTC with milliseconds on the way out.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A point in time in UTC, within the years that four digits can write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timestamp(OffsetDateTime);

const LENGTH: usize = "2026-11-21T12:00:00.000Z".len();

impl Timestamp {
    pub fn now() -> Self {
        Self(OffsetDateTime::now_utc())
    }

    /// None: not RFC 3339, or outside the years 0000 to 9999 when it is moved to UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let utc = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
        (0..=9999).contains(&utc.year()).then_some(Self(utc))
    }

    pub fn plus_minutes(self, minutes: i64) -> Self {
        Self(self.0 + time::Duration::minutes(minutes))
    }

    /// The fixed form is written digit by digit, since a format description costs ten times as much.
    pub fn format(self) -> [u8; LENGTH] {
        let t = self.0;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[0..4], t.year().unsigned_abs());
        digits(&mut text[5..7], u8::from(t.month()).into());
        digits(&mut text[8..10], t.day().into());
        digits(&mut text[11..13], t.hour().into());
        digits(&mut text[14..16], t.minute().into());
        digits(&mut text[17..19], t.second().into());
        digits(&mut text[20..23], t.millisecond().into());
        text
    }
}

fn digits(to: &mut [u8], mut value: u32) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.format();
        serializer.serialize_str(std::str::from_utf8(&text).expect("ASCII"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a timestamp of RFC 3339")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_utc_with_milliseconds() {
        let f = |text| Timestamp::parse(text).map(|t| String::from_utf8(t.format().to_vec()).unwrap());
        let same = |text: &str| Some(text.to_string());
        assert_eq!(f("2026-11-21T12:00:00.000Z"), same("2026-11-21T12:00:00.000Z"));
        assert_eq!(f("2026-11-21T12:00:00Z"), same("2026-11-21T12:00:00.000Z"));
        assert_eq!(f("2026-11-21T12:00:00.123987+05:30"), same("2026-11-21T06:30:00.123Z"));
        assert_eq!(f("2024-02-29T23:30:00-01:00"), same("2024-03-01T00:30:00.000Z"));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in
            ["", "yesterday", "2026-11-21", "2026-02-29T00:00:00Z", "2026-11-21T12:00:00", "0000-01-01T00:00:00+01:00"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
