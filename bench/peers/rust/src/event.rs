//! Meter events: what a request body must be, and the record that each of its events becomes.
//!
//! Strings are borrowed from the body wherever they are not escaped. A body is checked as a whole before the first
//! record is made, so that a bad one leaves nothing behind.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::batch::Batch;
use crate::timestamp::Timestamp;

const EVENTS_MAX: usize = 100;
const IDENTIFIER_CHARS_MAX: usize = 100;

#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    #[serde(borrow)]
    identifier: Option<Text<'a>>,
    timestamp: Option<Timestamp>,
    #[serde(borrow)]
    payload: Payload<'a>,
}

/// Within an Option or a container serde copies a plain `Cow`; this one borrows there too.
#[derive(Debug, Deserialize, Serialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A payload has few fields, which a Vec holds cheaper than a map, and in the order they were sent.
#[derive(Debug)]
struct Payload<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Payload<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(2);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Payload(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The events of a body, or why it is refused.
pub fn parse(body: &[u8]) -> Result<Vec<Event<'_>>, String> {
    // Checking the encoding once for the whole body is cheaper than once for each string.
    let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
    let Body { events } = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if !(1..=EVENTS_MAX).contains(&events.len()) {
        return Err(format!("events must hold 1 to {EVENTS_MAX} events"));
    }
    for (i, event) in events.iter().enumerate() {
        if event.event_name.is_empty() {
            return Err(format!("events[{i}].event_name must not be empty"));
        }
        if event.identifier.as_ref().is_some_and(|id| is_longer(&id.0, IDENTIFIER_CHARS_MAX)) {
            return Err(format!("events[{i}].identifier is longer than {IDENTIFIER_CHARS_MAX} characters"));
        }
    }
    Ok(events)
}

fn is_longer(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().count() > chars_max
}

/// Field order is the order in the record.
#[derive(Serialize)]
struct Record<'a> {
    object: &'static str,
    business: &'a str,
    livemode: bool,
    event_name: &'a str,
    identifier: &'a str,
    timestamp: Timestamp,
    received: Timestamp,
    payload: &'a Payload<'a>,
}

/// Appends an event's Kafka record to a batch.
pub fn write_record(event: &Event, business: &str, received: Timestamp, batch: &mut Batch) {
    let value = batch.begin(&[business, "/testmode/", &event.event_name]);
    let mut generated = Uuid::encode_buffer();
    let identifier = match &event.identifier {
        Some(id) => &*id.0,
        None => Uuid::new_v4().hyphenated().encode_lower(&mut generated),
    };
    let record = Record {
        object: "meter_event",
        business,
        livemode: false,
        event_name: &event.event_name,
        identifier,
        timestamp: event.timestamp.unwrap_or(received),
        received,
        payload: &event.payload,
    };
    serde_json::to_writer(value, &record).expect("strings are always JSON");
    batch.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: &str = "2026-11-21T12:00:00.123Z";

    fn records(body: &str) -> Vec<(String, String)> {
        let received = Timestamp::parse(RECEIVED).unwrap();
        let mut batch = Batch::default();
        for event in parse(body.as_bytes()).unwrap() {
            write_record(&event, "acct_bench", received, &mut batch);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        batch.records().map(|(key, value)| (text(key), text(value))).collect()
    }

    #[test]
    fn an_event_becomes_one_compact_object_in_a_fixed_order() {
        let body = r#"{"events":[{"event_name":"meter_0001","identifier":"tgb-5f3a01c9-002a-00000004d2",
            "timestamp":"2026-11-21T13:00:00+01:00","payload":{"stripe_customer_id":"cus_00000001","value":"25"}}]}"#;
        let value = r#"{"object":"meter_event","business":"acct_bench","livemode":false,"event_name":"meter_0001","identifier":"tgb-5f3a01c9-002a-00000004d2","timestamp":"2026-11-21T12:00:00.000Z","received":"2026-11-21T12:00:00.123Z","payload":{"stripe_customer_id":"cus_00000001","value":"25"}}"#;
        assert_eq!(records(body), [("acct_bench/testmode/meter_0001".into(), value.into())]);
    }

    #[test]
    fn what_an_event_leaves_out_is_filled_in() {
        let made = records(r#"{"events":[{"event_name":"m","payload":{}},{"event_name":"m","payload":{}}]}"#);
        let identifiers: Vec<String> = made
            .iter()
            .map(|(_, value)| {
                let value: serde_json::Value = serde_json::from_str(value).unwrap();
                assert_eq!(value["timestamp"], RECEIVED);
                value["identifier"].as_str().unwrap().into()
            })
            .collect();
        assert_eq!(identifiers[0].len(), 36);
        assert_ne!(identifiers[0], identifiers[1]);
    }

    #[test]
    fn escapes_survive_and_do_not_break_the_record() {
        let (key, value) = &records(r#"{"events":[{"event_name":"a\"b","payload":{"k\n":"é\u00e9"}}]}"#)[0];
        assert_eq!(key, "acct_bench/testmode/a\"b");
        let value: serde_json::Value = serde_json::from_str(value).unwrap();
        assert_eq!(value["event_name"], "a\"b");
        assert_eq!(value["payload"]["k\n"], "éé");
    }

    #[test]
    fn plain_strings_are_borrowed_from_the_body() {
        let events = parse(br#"{"events":[{"event_name":"m","identifier":"i","payload":{"k":"v"}}]}"#).unwrap();
        let event = &events[0];
        let (name, value) = &event.payload.0[0];
        for text in [&event.event_name, &event.identifier.as_ref().unwrap().0, &name.0, &value.0] {
            assert!(matches!(text, Cow::Borrowed(_)), "{text} was copied");
        }
    }

    #[test]
    fn a_bad_body_is_refused() {
        let one = r#"{"event_name":"m","payload":{}}"#;
        let many = format!(r#"{{"events":[{}]}}"#, vec![one; EVENTS_MAX + 1].join(","));
        let long = format!(r#"{{"events":[{{"event_name":"m","identifier":"{}","payload":{{}}}}]}}"#, "é".repeat(101));
        for body in [
            "",
            "{}",
            r#"{"events":[]}"#,
            r#"{"events":{}}"#,
            r#"{"events":[{"payload":{}}]}"#,
            r#"{"events":[{"event_name":"m"}]}"#,
            r#"{"events":[{"event_name":"","payload":{}}]}"#,
            r#"{"events":[{"event_name":1,"payload":{}}]}"#,
            r#"{"events":[{"event_name":"m","payload":[]}]}"#,
            r#"{"events":[{"event_name":"m","payload":{"value":25}}]}"#,
            r#"{"events":[{"event_name":"m","payload":{},"timestamp":"yesterday"}]}"#,
            r#"{"events":[{"event_name":"m","payload":{},"timestamp":1700000000}]}"#,
            r#"{"events":[{"event_name":"m","payload":{}}]} trailing"#,
            &many,
            &long,
        ] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
        let most = format!(r#"{{"events":[{}]}}"#, vec![one; EVENTS_MAX].join(","));
        let longest = long.replacen('é', "", 1);
        for body in [most, longest] {
            assert!(parse(body.as_bytes()).is_ok(), "{body}");
        }
        assert!(parse(b"{\"events\":[{\"event_name\":\"\xff\",\"payload\":{}}]}").is_err());
    }
}
