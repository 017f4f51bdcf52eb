//! What the endpoint's pages hold.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::access::Access;
use super::routes::{Answer, Asked, MAX_BODY, Routes};
use super::{Telemetry, exposition};

/// The pages of the endpoint.
pub(super) struct Pages<F> {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) status: F,
    pub(super) routes: Option<Arc<dyn Routes>>,
    /// Who may ask for more than health.
    pub(super) access: Access,
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl<F: Fn() -> Value> Pages<F> {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let health = matches!(path, "/livez" | "/readyz");
        if !health && !self.access.permits(request.headers()) {
            let what = "a token is needed: Authorization: Bearer TOKEN\n";
            let mut response = page(StatusCode::UNAUTHORIZED, PLAIN, what.into());
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        let get = request.method() == Method::GET;
        match path {
            "/metrics" if get => self.metrics(),
            "/livez" if get => self.live(),
            "/readyz" if get => self.ready(),
            "/status" if get => page(StatusCode::OK, JSON, format!("{}\n", self.status())),
            _ => self.other(request).await,
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match exposition::encode(&[&self.telemetry.registry, &self.telemetry.foreign]) {
            Ok(text) => page(StatusCode::OK, exposition::CONTENT_TYPE, text),
            Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, String::new()),
        }
    }

    /// A page of the program's own, if there is such a one.
    async fn other(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let post = request.method() == Method::POST;
        let known = matches!(
            request.uri().path(),
            "/metrics" | "/livez" | "/readyz" | "/status"
        );
        let routes = self.routes.as_deref().filter(|_| !known);
        if request.method() != Method::GET && !(post && routes.is_some()) {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        let answer = match routes {
            Some(routes) => ask(routes, request, post).await,
            None => None,
        };
        match answer {
            Some(Answer { code, body }) => {
                let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                page(code, JSON, format!("{body}\n"))
            }
            None => {
                let more = routes.map_or("", Routes::pages);
                let what = format!("pages: /metrics /livez /readyz /status{more}\n");
                page(StatusCode::NOT_FOUND, PLAIN, what)
            }
        }
    }

    fn live(&self) -> Response<Full<Bytes>> {
        let stalled = self.telemetry.health.stalled();
        if stalled.is_empty() {
            return page(StatusCode::OK, PLAIN, "ok\n".into());
        }
        let line = |(name, silent): &(String, Duration)| {
            format!("{name}: silent for {} s\n", silent.as_secs())
        };
        let text = stalled.iter().map(line).collect();
        page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let components = self.telemetry.health.components();
        let failed = components.iter().filter_map(|(name, state)| {
            let why = state.as_ref()?;
            Some(format!("{name}: {why}\n"))
        });
        let text: String = failed.collect();
        if text.is_empty() {
            return page(StatusCode::OK, PLAIN, "ok\n".into());
        }
        page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
    }

    fn status(&self) -> Value {
        let telemetry = &self.telemetry;
        let components = telemetry.health.components();
        let stalled = telemetry.health.stalled();
        let mut status = json!({
            "program": telemetry.program,
            "version": telemetry.version,
            "pid": std::process::id(),
            "uptime_seconds": telemetry.health.uptime().as_secs(),
            "live": stalled.is_empty(),
            "ready": components.values().all(Option::is_none),
            "components": components
                .iter()
                .map(|(name, state)| (name.clone(), json!(state.as_deref().unwrap_or("ok"))))
                .collect::<serde_json::Map<_, _>>(),
        });
        if let (Some(all), Value::Object(own)) = (status.as_object_mut(), (self.status)()) {
            all.extend(own);
        }
        status
    }
}

async fn ask(routes: &dyn Routes, request: Request<Incoming>, post: bool) -> Option<Answer> {
    let (head, body) = request.into_parts();
    // Also a body that is announced and does not come.
    if body.size_hint().lower() > MAX_BODY as u64 {
        let body = json!({"error": format!("the body is over {MAX_BODY} octets")});
        return Some(Answer { code: 413, body });
    }
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let body = json!({"error": format!("the body: {error}")});
            return Some(Answer { code: 400, body });
        }
    };
    let asked = Asked {
        post,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body,
    };
    routes.answer(asked).await
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
