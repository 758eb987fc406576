//! Spans as a collector reads them: OTLP in its JSON form, version 1.
//!
//! From the protocol's own pages (`opentelemetry-proto`, `docs/specification.md`): identifiers are hexadecimal,
//! 64-bit numbers are strings, enumerations are numbers. Names of attributes follow the conventions for databases.

use serde_json::{Value as Json, json};

use super::{Kind, Span, Value};

/// The body of a request with these spans.
pub(super) fn body(spans: &[Span], service: &str) -> Vec<u8> {
    let resource = [("service.name", Value::Text(service.to_owned()))];
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": attributes(&resource)},
        "scopeSpans": [{
            "scope": {"name": "slotway", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }]});
    body.to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "parentSpanId": span.parent.map_or(String::new(), |id| format!("{id:016x}")),
        "name": span.name,
        "kind": match span.kind { Kind::Request => 2, Kind::Node => 3 },
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes(&span.attributes),
        "status": if span.failed { json!({"code": 2}) } else { json!({}) },
    })
}

fn attributes(attributes: &[(&'static str, Value)]) -> Json {
    let listed = attributes.iter().map(|(key, value)| {
        let value = match value {
            Value::Text(text) => json!({"stringValue": text}),
            Value::Number(number) => json!({"intValue": number.to_string()}),
        };
        json!({"key": key, "value": value})
    });
    Json::Array(listed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_form_that_collectors_read() {
        let request = Span {
            trace: 0xab,
            id: 1,
            parent: None,
            name: "MGET".to_owned(),
            kind: Kind::Request,
            start: 1_700_000_000_000_000_000,
            end: 1_700_000_000_000_001_000,
            attributes: vec![("slotway.part", 3.into())],
            failed: true,
        };
        let node =
            Span { id: 2, parent: Some(1), kind: Kind::Node, failed: false, ..request.clone() };
        let body: Json = serde_json::from_slice(&body(&[request, node], "gate")).unwrap();
        let resource = &body["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "gate"}})
        );
        let spans = &resource["scopeSpans"][0]["spans"];
        let expected = json!({
            "traceId": "000000000000000000000000000000ab", "spanId": "0000000000000001", "parentSpanId": "",
            "name": "MGET", "kind": 2,
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000001000",
            "attributes": [{"key": "slotway.part", "value": {"intValue": "3"}}], "status": {"code": 2},
        });
        assert_eq!(spans[0], expected);
        assert_eq!(
            (&spans[1]["parentSpanId"], &spans[1]["kind"]),
            (&"0000000000000001".into(), &3.into())
        );
        assert_eq!(spans[1]["status"], json!({}));
    }
}
