//! The HTTP surface: readiness, sessions and the event stream.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::event;
use crate::kafka::{Kafka, Receipt};
use crate::sessions::{self, Sessions};
use crate::timestamp::Timestamp;

const BODY_BYTES_MAX: usize = 1 << 20;

/// What a record is longer than its event, key included, when names are short.
const RECORD_EXTRA_BYTES: usize = 192;

pub struct Gateway {
    pub key: String,
    pub business: String,
    pub kafka: Kafka,
    pub sessions: Sessions,
}

pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/v2/billing/meter_event_session", post(open_session))
        .route("/v2/billing/meter_event_stream", post(stream))
        .with_state(gateway)
}

async fn open_session(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if bearer(&headers) != Some(&gateway.key) {
        return unauthorized();
    }
    let now = Timestamp::now();
    let Some(token) = gateway.sessions.open(Instant::now()) else {
        return error(StatusCode::TOO_MANY_REQUESTS, "rate_limit", "too many sessions are open", "rate_limit_error");
    };
    let session = json!({
        "object": "v2.billing.meter_event_session",
        "id": format!("mtes_test_{}", uuid::Uuid::new_v4().simple()),
        "authentication_token": token,
        "created": now,
        "expires_at": now.plus_minutes(sessions::MINUTES),
        "livemode": false,
    });
    answer(StatusCode::OK, session.to_string())
}

/// Takes the request whole: the extractor for headers would clone them.
async fn stream(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match bearer(request.headers()) {
        Some(token) if gateway.sessions.is_open(token, Instant::now()) => {}
        _ => return unauthorized(),
    }
    let produced = match to_bytes(request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => produce(&gateway, &body),
        Err(e) => Err(e.to_string()),
    };
    let outcome = match produced {
        Ok(outcome) => outcome,
        Err(why) => return error(StatusCode::BAD_REQUEST, "invalid_fields", &why, "invalid_request_error"),
    };
    match outcome.await {
        Ok(true) => answer(StatusCode::OK, "{}"),
        // Some records may have been written: that nothing was stored can not be said.
        _ => error(
            StatusCode::SERVICE_UNAVAILABLE,
            "outcome_unknown",
            "Kafka did not acknowledge all events",
            "api_error",
        ),
    }
}

/// Checks the whole body, then queues its records. Nothing here waits, so that borrowed events never cross an await.
fn produce(gateway: &Gateway, body: &[u8]) -> Result<oneshot::Receiver<bool>, String> {
    let events = event::parse(body)?;
    let received = Timestamp::now();
    let (receipt, outcome) = Receipt::new();
    let mut batch = Batch::with_capacity(events.len(), body.len() + RECORD_EXTRA_BYTES * events.len());
    for event in &events {
        event::write_record(event, &gateway.business, received, &mut batch);
    }
    gateway.kafka.send(&batch, &receipt);
    Ok(outcome)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn answer(status: StatusCode, body: impl IntoResponse) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn unauthorized() -> Response {
    error(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "the bearer token is missing, unknown or expired",
        "invalid_request_error",
    )
}

fn error(status: StatusCode, code: &str, message: &str, kind: &str) -> Response {
    let body = json!({"error": {"code": code, "message": message, "type": kind}});
    answer(status, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_bearer_token_is_taken_from_its_header_only() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        assert_eq!(bearer(&headers), None);
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(bearer(&headers), Some("abc"));
    }

    #[tokio::test]
    async fn an_error_is_json_with_a_code_and_a_type() {
        let response = error(StatusCode::BAD_REQUEST, "invalid_fields", "why", "invalid_request_error");
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = to_bytes(response.into_body(), BODY_BYTES_MAX).await.unwrap();
        assert_eq!(&body[..], br#"{"error":{"code":"invalid_fields","message":"why","type":"invalid_request_error"}}"#);
    }
}
