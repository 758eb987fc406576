//! Which page answers which path. Pages are made in memory at once, so nothing here waits.

use std::fmt::Display;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::State;
use crate::metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "\
slotway

/metrics  what is counted, in the Prometheus text format
/healthz  200 while the process runs
/readyz   200 when clients should be sent here, else 503, with the reason
";

/// The answer to a request; its body, if it has one, is not read.
pub(super) fn answer<B>(request: &Request<B>, state: &State) -> Response<Full<Bytes>> {
    let make = match request.uri().path() {
        "/" => index,
        "/metrics" => metrics_page,
        "/healthz" => alive,
        "/readyz" => ready,
        _ => return page(StatusCode::NOT_FOUND, TEXT, "not found\n"),
    };
    // hyper leaves the body out of an answer to HEAD and keeps its length.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    make(state)
}

fn index(_: &State) -> Response<Full<Bytes>> {
    page(StatusCode::OK, TEXT, INDEX)
}

fn alive(_: &State) -> Response<Full<Bytes>> {
    page(StatusCode::OK, TEXT, "ok\n")
}

fn ready(state: &State) -> Response<Full<Bytes>> {
    let verdict = state.readiness.verdict();
    let status = if verdict.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_vec(&verdict) {
        Ok(body) => page(status, JSON, body),
        Err(error) => failure(&error),
    }
}

fn metrics_page(state: &State) -> Response<Full<Bytes>> {
    // Set here, the gauges cannot disagree with what /readyz says.
    let verdict = state.readiness.verdict();
    state.metrics.ready(verdict.ready);
    state.metrics.draining(verdict.draining);
    match state.metrics.render() {
        Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(error) => failure(&error),
    }
}

fn failure(error: &dyn Display) -> Response<Full<Bytes>> {
    tracing::error!(%error, "a page of the admin port cannot be made");
    page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "internal error\n")
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
