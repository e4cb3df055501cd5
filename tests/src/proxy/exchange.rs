//! One request and its answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, IF_NONE_MATCH, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode, Uri, http};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::proxy::fault::{Counts, Fault, Seen};
use crate::proxy::plan::Plan;
use crate::proxy::wire::Reset;
use crate::proxy::{LONGEST, MOST_BYTES};

/// Why a connection ends without an answer.
#[derive(Debug)]
pub(crate) struct NoAnswer(&'static str);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NoAnswer {}

type Whole = Full<Bytes>;
type Answer = Response<UnsyncBoxBody<Bytes, NoAnswer>>;

/// What all connections of a proxy share.
pub(crate) struct Exchange {
    client: Client<HttpConnector, Whole>,
    state: Mutex<State>,
    /// How many requests are held back that have no client any more.
    late: watch::Sender<u64>,
}

struct State {
    upstream: SocketAddr,
    plan: Plan,
    counts: Counts,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Exchange {
    pub(crate) fn new(upstream: SocketAddr, plan: Plan) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // The client's Host goes on as it is: it is part of what was signed.
        let client = Client::builder(TokioExecutor::new()).set_host(false).build(connector);
        let state = State { upstream, plan, counts: Counts::default() };
        Self { client, state: Mutex::new(state), late: watch::Sender::new(0) }
    }

    pub(crate) fn set_upstream(&self, upstream: SocketAddr) {
        self.state.lock().upstream = upstream;
    }

    pub(crate) fn set_plan(&self, plan: Plan) {
        self.state.lock().plan = plan;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts.clone()
    }

    pub(crate) async fn settled(&self) {
        // The sender lives as long as this does.
        let _ = self.late.subscribe().wait_for(|late| *late == 0).await;
    }

    /// Answers a client, or ends its connection by an error.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        request: Request<Incoming>,
        reset: &Reset,
    ) -> Result<Answer, NoAnswer> {
        let request = whole(request).await?;
        let Some(fault) = self.decide(&request) else { return self.forward(request).await.map(full) };
        match fault {
            Fault::Cut { applied } => {
                self.apply_if(applied, request).await;
                Err(NoAnswer("cut"))
            }
            Fault::Reset { applied } => {
                self.apply_if(applied, request).await;
                reset.set();
                Err(NoAnswer("reset"))
            }
            Fault::Late(wait) => {
                self.forward_late(request, wait);
                Err(NoAnswer("cut, lands late"))
            }
            Fault::Delay(wait) => {
                sleep(wait).await;
                self.forward(request).await.map(full)
            }
            Fault::Error { applied } => {
                self.apply_if(applied, request).await;
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
            Fault::SlowDown { applied } => {
                self.apply_if(applied, request).await;
                refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
            }
            Fault::Conflict { applied } => {
                self.apply_if(applied, request).await;
                refusal(StatusCode::CONFLICT, "ConditionalRequestConflict")
            }
            Fault::Twice => {
                self.apply_if(true, copy(&request)?).await;
                self.forward(request).await.map(full)
            }
            Fault::Truncate => self.forward(request).await.map(|answer| self.truncated(answer)),
            Fault::Instead(body) => Ok(full(Response::new(Bytes::from_static(body.as_bytes())))),
        }
    }

    /// What happens to a request; counted, but for a truncation, which needs a body.
    fn decide(&self, request: &Request<Whole>) -> Option<Fault> {
        let mut state = self.state.lock();
        let seen = Seen {
            number: state.counts.requests,
            method: request.method().to_string(),
            target: request.uri().to_string(),
            creates: request.method() == Method::PUT && request.headers().contains_key(IF_NONE_MATCH),
        };
        state.counts.requests += 1;
        let fault = (state.plan)(&seen).filter(|fault| fault.fits(&seen));
        if let Some(fault) = fault.filter(|fault| *fault != Fault::Truncate) {
            *state.counts.faults.entry(fault.name()).or_default() += 1;
        }
        fault
    }

    async fn apply_if(&self, applied: bool, request: Request<Whole>) {
        if applied {
            // Whatever the answer is, nobody hears it.
            let _ = self.forward(request).await;
        }
    }

    /// Sends a request on after a while, whatever becomes of its connection.
    fn forward_late(self: &Arc<Self>, request: Request<Whole>, wait: std::time::Duration) {
        self.late.send_modify(|late| *late += 1);
        let exchange = Arc::clone(self);
        tokio::spawn(async move {
            sleep(wait).await;
            exchange.apply_if(true, request).await;
            exchange.late.send_modify(|late| *late -= 1);
        });
    }

    async fn forward(&self, mut request: Request<Whole>) -> Result<Response<Bytes>, NoAnswer> {
        let answered = async {
            let upstream = self.state.lock().upstream;
            *request.uri_mut() = at(upstream, request.uri()).map_err(|_| NoAnswer("no such address"))?;
            let answer = self.client.request(request).await.map_err(|_| NoAnswer("no server"))?;
            let (head, body) = answer.into_parts();
            let body =
                Limited::new(body, MOST_BYTES).collect().await.map_err(|_| NoAnswer("no whole answer"))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answered = timeout(LONGEST, answered).await.unwrap_or(Err(NoAnswer("no answer in time")));
        if answered.is_err() {
            self.state.lock().counts.unanswered += 1;
        }
        answered
    }

    /// An answer that announces its whole body and ends in its middle.
    fn truncated(&self, answer: Response<Bytes>) -> Answer {
        if answer.body().len() < 2 {
            return full(answer);
        }
        *self.state.lock().counts.faults.entry(Fault::Truncate.name()).or_default() += 1;
        let (mut head, body) = answer.into_parts();
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let half = body.slice(..body.len() / 2);
        let parts = stream::unfold(Some(half), async |part| match part {
            Some(half) if !half.is_empty() => Some((Ok(Frame::data(half)), Some(Bytes::new()))),
            _ => {
                // What was written is sent first.
                tokio::task::yield_now().await;
                Some((Err(NoAnswer("truncated")), None))
            }
        });
        Response::from_parts(head, StreamBody::new(parts).boxed_unsync())
    }
}

/// A request with its body in memory.
async fn whole(request: Request<Incoming>) -> Result<Request<Whole>, NoAnswer> {
    let (head, body) = request.into_parts();
    let body = timeout(LONGEST, Limited::new(body, MOST_BYTES).collect()).await;
    let body = body.map_err(|_| NoAnswer("no request in time"))?.map_err(|_| NoAnswer("no whole request"))?;
    Ok(Request::from_parts(head, Full::new(body.to_bytes())))
}

fn copy(request: &Request<Whole>) -> Result<Request<Whole>, NoAnswer> {
    let mut copy = Request::builder().method(request.method()).uri(request.uri());
    if let Some(headers) = copy.headers_mut() {
        headers.clone_from(request.headers());
    }
    copy.body(request.body().clone()).map_err(|_| NoAnswer("no copy"))
}

/// The same target at the server's address.
fn at(upstream: SocketAddr, target: &Uri) -> Result<Uri, http::Error> {
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder().scheme("http").authority(upstream.to_string()).path_and_query(path).build()
}

fn full(answer: Response<Bytes>) -> Answer {
    answer.map(|body| Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync())
}

/// An error as S3 words it.
fn refusal(status: StatusCode, code: &str) -> Result<Answer, NoAnswer> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>by the proxy</Message></Error>"
    );
    let answer = Response::builder().status(status).header(CONTENT_TYPE, "application/xml");
    answer.body(Bytes::from(body)).map(full).map_err(|_| NoAnswer("no refusal"))
}
