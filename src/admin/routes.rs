//! Which page answers which path. Pages are made in memory at once, so nothing here waits.

use std::fmt::Display;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::State;
use super::guard::Denial;
use super::process::Process;
use super::{page, status};
use crate::metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "
/             what the gateway sees, for people
/status.json  the same for machines
/process.json which process it is, and why it could not hand over to another
/metrics      what is counted, in the Prometheus text format
/healthz      200 while the process runs
/readyz       200 when clients should be sent here, else 503, with the reason
";

type Page = Response<Full<Bytes>>;
type Make = fn(&State) -> Page;

/// The answer to a request; its body, if it has one, is not read.
pub(super) fn answer<B>(request: &Request<B>, state: &State) -> Page {
    let (make, for_whom): (Make, _) = match request.uri().path() {
        "/" => (status_page, ForWhom::Administrators),
        "/metrics" => (metrics_page, ForWhom::Anybody),
        "/healthz" => (alive, ForWhom::Anybody),
        "/readyz" => (ready, ForWhom::Anybody),
        "/status.json" => (status_json, ForWhom::Administrators),
        "/process.json" => (process, ForWhom::Administrators),
        _ => return page(StatusCode::NOT_FOUND, TEXT, "not found\n"),
    };
    // hyper leaves the body out of an answer to HEAD and keeps its length.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match for_whom {
        ForWhom::Administrators => match state.guard.check(request) {
            Ok(()) => make(state),
            Err(denial) => denied(denial),
        },
        ForWhom::Anybody => make(state),
    }
}

/// Pages that show what clients have sent are not for anybody.
enum ForWhom {
    Anybody,
    Administrators,
}

fn denied(denial: Denial) -> Page {
    let (status, why) = match denial {
        Denial::Password => {
            (StatusCode::UNAUTHORIZED, "the user is admin, the password that of the settings\n")
        }
        Denial::Exposed => (
            StatusCode::FORBIDDEN,
            "beyond loopback this page needs a password: set admin.password\n",
        ),
        Denial::Foreign => (
            StatusCode::FORBIDDEN,
            "this page is for localhost: under other names set admin.password\n",
        ),
    };
    let mut refusal = page(status, TEXT, format!("{why}{INDEX}"));
    if denial == Denial::Password {
        let realm = HeaderValue::from_static("Basic realm=\"slotway\", charset=\"UTF-8\"");
        refusal.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    refusal
}

fn alive(_: &State) -> Page {
    page(StatusCode::OK, TEXT, "ok\n")
}

fn ready(state: &State) -> Page {
    let verdict = state.readiness.verdict();
    let status = if verdict.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_vec(&verdict) {
        Ok(body) => page(status, JSON, body),
        Err(error) => failure(&error),
    }
}

fn process(state: &State) -> Page {
    match serde_json::to_vec(&Process::this(&state.hand_overs)) {
        Ok(body) => page(StatusCode::OK, JSON, body),
        Err(error) => failure(&error),
    }
}

fn status_page(state: &State) -> Page {
    let mut answer = page(StatusCode::OK, HTML, page::PAGE);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, state.policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

fn status_json(state: &State) -> Page {
    match status::status(state) {
        Ok(body) => page(StatusCode::OK, JSON, body),
        Err(error) => failure(&error),
    }
}

fn metrics_page(state: &State) -> Page {
    // Set here, the gauges cannot disagree with what /readyz says.
    let verdict = state.readiness.verdict();
    state.metrics.ready(verdict.ready);
    state.metrics.draining(verdict.draining);
    let hottest = state.sights.hot_keys(1).first().map_or(0.0, |hot| hot.per_second);
    let largest = state.sights.big_keys(1).first().map_or(0, |big| big.bytes);
    state.metrics.keys_stand_out(hottest, largest);
    match state.metrics.render() {
        Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(error) => failure(&error),
    }
}

fn failure(error: &dyn Display) -> Page {
    tracing::error!(%error, "a page of the admin port cannot be made");
    page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "internal error\n")
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Page {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
