//! Observes one item, from its name to its state.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::access::Access;
use super::client::Client;
use super::condition::Condition;
use super::discovery::discover;
use super::endpoints::{SERVICE, Slices};
use super::error::ApiError;
use super::kind::{Kind, built_in};
use super::role::Grant;
use super::subject::{Subject, Which};
use super::tracked::{State, Tracked};
use super::watch::{Pause, Query, Sink, follow};

/// Receives each state, and missing permissions.
pub(super) type StateCallback = Box<dyn FnMut(State, Option<Grant>) + Send>;

/// Observes `subject` forever. During errors of the server, a ready state is kept.
pub async fn observe(access: Arc<Access>, subject: Subject, callback: StateCallback) {
    let mut client = Client::new(Arc::clone(&access));
    let reporter = Arc::new(Mutex::new(Reporter { callback, is_ready: false }));
    let kind = resolve(&mut client, &subject.kind, &reporter).await;
    let condition = subject.condition.clone().unwrap_or_else(|| Condition::default_of(&kind.resource));
    if condition == Condition::HasEndpoints && kind.resource == "services" {
        return observe_service(client, access, &subject, kind, reporter).await;
    }
    let selector = Some(match &subject.which {
        Which::Name(name) => ("fieldSelector", format!("metadata.name={name}")),
        Which::Selector(selector) => ("labelSelector", selector.clone()),
    });
    let query =
        Query { path: kind.path(&subject.namespace), selector, whole: condition.needs_whole_object() };
    let grant = Grant::of(&kind, &subject.namespace, &subject.which);
    let mut objects =
        Objects { tracked: Tracked::default(), kind, condition, which: subject.which, grant, reporter };
    follow(&mut client, &query, &mut objects).await;
}

/// Determines the kind. Kinds that are not built in are discovered, repeatedly until the API has them.
async fn resolve(client: &mut Client, name: &str, reporter: &Mutex<Reporter>) -> Kind {
    if let Some(kind) = built_in(name) {
        return kind;
    }
    let mut pause = Pause::new();
    loop {
        let error = match discover(client, name).await {
            Ok(Some(kind)) => return kind,
            Ok(None) => {
                report(reporter, State::Missing(format!("the API has no kind {name:?}")), None);
                None
            }
            Err(error) => {
                report(reporter, State::Missing(error.to_string()), None);
                Some(error)
            }
        };
        pause.after(error.as_ref()).await;
    }
}

/// Passes on states, and remembers whether the last one was ready.
struct Reporter {
    callback: StateCallback,
    is_ready: bool,
}

fn report(reporter: &Mutex<Reporter>, state: State, grant: Option<Grant>) {
    let mut reporter = reporter.lock().unwrap_or_else(PoisonError::into_inner);
    reporter.is_ready = state == State::Ready;
    (reporter.callback)(state, grant);
}

/// Reports an error, unless the last answer of the server showed a ready state.
fn report_error(reporter: &Mutex<Reporter>, error: &ApiError, grant: &Grant) {
    let is_ready = reporter.lock().unwrap_or_else(PoisonError::into_inner).is_ready;
    if !is_ready || error.is_forbidden() {
        report(reporter, State::Missing(error.to_string()), error.is_forbidden().then(|| grant.clone()));
    }
}

/// Objects that are evaluated one by one.
struct Objects {
    tracked: Tracked,
    kind: Kind,
    condition: Condition,
    which: Which,
    grant: Grant,
    reporter: Arc<Mutex<Reporter>>,
}

impl Sink for Objects {
    fn clear(&mut self) {
        self.tracked.clear();
    }

    fn put(&mut self, name: &str, object: &Value) {
        let state = match (self.condition.evaluate(&self.kind.resource, object), &self.which) {
            // The owner of the Pods may replace one that has ended by another with the same labels.
            (State::Failed(reason), Which::Selector(_)) if self.kind.resource == "pods" => {
                State::Missing(reason)
            }
            (state, _) => state,
        };
        self.tracked.put(name, state);
    }

    fn remove(&mut self, name: &str) {
        self.tracked.remove(name);
    }

    fn report(&mut self, error: Option<&ApiError>) {
        match (error, &self.which) {
            (Some(error), _) => report_error(&self.reporter, error, &self.grant),
            (None, Which::Name(_)) => report(&self.reporter, self.tracked.of_one(), None),
            (None, Which::Selector(selector)) => report(&self.reporter, self.tracked.of_all(selector), None),
        }
    }
}

/// Services and their endpoints.
struct Services {
    /// Names of the Services that a selector matches; `None` until they are listed.
    names: Option<Tracked>,
    slices: Slices,
    /// Whether the slices are listed.
    complete: bool,
}

/// Receives either Services or slices, and reports on both.
struct ServiceSink {
    is_for_names: bool,
    services: Arc<Mutex<Services>>,
    which: Which,
    grant: Grant,
    reporter: Arc<Mutex<Reporter>>,
}

async fn observe_service(
    mut client: Client,
    access: Arc<Access>,
    subject: &Subject,
    kind: Kind,
    reporter: Arc<Mutex<Reporter>>,
) {
    let slices = Kind::endpoint_slices();
    let services = Services { names: None, slices: Slices::default(), complete: false };
    let services = Arc::new(Mutex::new(services));
    let sink = |is_for_names: bool, grant: Grant| ServiceSink {
        is_for_names,
        services: Arc::clone(&services),
        which: subject.which.clone(),
        grant,
        reporter: Arc::clone(&reporter),
    };
    let path = slices.path(&subject.namespace);
    let all = Which::Selector(String::new());
    let mut slice_sink = sink(false, Grant::of(&slices, &subject.namespace, &all));
    match &subject.which {
        Which::Name(name) => {
            let selector = Some(("labelSelector", format!("{SERVICE}={name}")));
            follow(&mut client, &Query { path, selector, whole: false }, &mut slice_sink).await;
        }
        Which::Selector(selector) => {
            let slice_query =
                Query { path, selector: Some(("labelSelector", SERVICE.to_owned())), whole: false };
            let selector = Some(("labelSelector", selector.clone()));
            let query = Query { path: kind.path(&subject.namespace), selector, whole: false };
            let mut name_sink = sink(true, Grant::of(&kind, &subject.namespace, &subject.which));
            let mut second = Client::new(access);
            tokio::join!(
                follow(&mut client, &slice_query, &mut slice_sink),
                follow(&mut second, &query, &mut name_sink)
            );
        }
    }
}

impl ServiceSink {
    fn with(&self, change: impl FnOnce(&mut Services)) {
        change(&mut self.services.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Sink for ServiceSink {
    fn clear(&mut self) {
        self.with(|services| {
            if self.is_for_names {
                services.names = Some(Tracked::default());
            } else {
                services.slices.clear();
            }
        });
    }

    fn put(&mut self, name: &str, object: &Value) {
        self.with(|services| match &mut services.names {
            Some(names) if self.is_for_names => names.put(name, State::Ready),
            _ => services.slices.put(name, object),
        });
    }

    fn remove(&mut self, name: &str) {
        self.with(|services| match &mut services.names {
            Some(names) if self.is_for_names => names.remove(name),
            _ => services.slices.remove(name),
        });
    }

    fn report(&mut self, error: Option<&ApiError>) {
        if let Some(error) = error {
            return report_error(&self.reporter, error, &self.grant);
        }
        let mut state = None;
        self.with(|services| {
            services.complete |= !self.is_for_names;
            state = match (&self.which, &services.names) {
                _ if !services.complete => None,
                (Which::Name(name), _) => Some(services.slices.of(name)),
                (Which::Selector(_), None) => None,
                (Which::Selector(selector), Some(names)) => {
                    let mut all = Tracked::default();
                    for name in names.names() {
                        all.put(name, services.slices.of(name));
                    }
                    Some(all.of_all(selector))
                }
            };
        });
        if let Some(state) = state {
            report(&self.reporter, state, None);
        }
    }
}
