//! One thing that is waited for, from its name to its state.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::access::Access;
use super::client::Client;
use super::condition::Condition;
use super::discovery::discover;
use super::endpoints::{SERVICE, Slices};
use super::error::ApiError;
use super::kind::{Kind, known};
use super::role::Grant;
use super::subject::{Subject, Which};
use super::tracked::{State, Tracked};
use super::watch::{Pause, Query, Sink, follow};

/// Receives each state, and missing permissions.
pub(super) type Report = Box<dyn FnMut(State, Option<Grant>) + Send>;

/// Observes `subject` forever. A ready state is kept while the server does not answer for a short time.
pub async fn observe(access: Arc<Access>, subject: Subject, report: Report) {
    let mut client = Client::new(Arc::clone(&access));
    let told = Arc::new(Mutex::new(Told { report, ready: false }));
    let kind = resolve(&mut client, &subject.kind, &told).await;
    let condition = subject.condition.clone().unwrap_or_else(|| Condition::default_of(&kind.resource));
    if condition == Condition::HasEndpoints && kind.resource == "services" {
        return observe_service(client, access, &subject, kind, told).await;
    }
    let selector = Some(match &subject.which {
        Which::Name(name) => ("fieldSelector", format!("metadata.name={name}")),
        Which::Selector(selector) => ("labelSelector", selector.clone()),
    });
    let query = Query { path: kind.path(&subject.namespace), selector, whole: condition.needs_all() };
    let grant = Grant::of(&kind, &subject.namespace, &subject.which);
    let mut objects =
        Objects { tracked: Tracked::default(), kind, condition, which: subject.which, grant, told };
    follow(&mut client, &query, &mut objects).await;
}

/// Finds the kind, by asking the API where it is not a usual one, until it is there.
async fn resolve(client: &mut Client, name: &str, told: &Mutex<Told>) -> Kind {
    if let Some(kind) = known(name) {
        return kind;
    }
    let mut pause = Pause::new();
    loop {
        let error = match discover(client, name).await {
            Ok(Some(kind)) => return kind,
            Ok(None) => {
                tell(told, State::Missing(format!("the API has no kind {name:?}")), None);
                None
            }
            Err(error) => {
                tell(told, State::Missing(error.to_string()), None);
                Some(error)
            }
        };
        pause.after(error.as_ref()).await;
    }
}

/// The receiver of states, and whether the last one was ready.
struct Told {
    report: Report,
    ready: bool,
}

fn tell(told: &Mutex<Told>, state: State, grant: Option<Grant>) {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.ready = state == State::Ready;
    (told.report)(state, grant);
}

/// Reports an error, unless the last answer of the server showed a ready state.
fn tell_error(told: &Mutex<Told>, error: &ApiError, grant: &Grant) {
    let ready = told.lock().unwrap_or_else(PoisonError::into_inner).ready;
    if !ready || error.is_forbidden() {
        tell(told, State::Missing(error.to_string()), error.is_forbidden().then(|| grant.clone()));
    }
}

/// Objects that are judged each by itself.
struct Objects {
    tracked: Tracked,
    kind: Kind,
    condition: Condition,
    which: Which,
    grant: Grant,
    told: Arc<Mutex<Told>>,
}

impl Sink for Objects {
    fn clear(&mut self) {
        self.tracked.clear();
    }

    fn put(&mut self, name: &str, object: &Value) {
        self.tracked.put(name, self.condition.judge(&self.kind.resource, object));
    }

    fn remove(&mut self, name: &str) {
        self.tracked.remove(name);
    }

    fn report(&mut self, error: Option<&ApiError>) {
        match (error, &self.which) {
            (Some(error), _) => tell_error(&self.told, error, &self.grant),
            (None, Which::Name(_)) => tell(&self.told, self.tracked.of_one(), None),
            (None, Which::Selector(selector)) => tell(&self.told, self.tracked.of_all(selector), None),
        }
    }
}

/// What is known of Services and their endpoints.
struct Services {
    /// The names of those that a selector matches; `None` until they are listed.
    names: Option<Tracked>,
    slices: Slices,
    /// Whether the slices are listed.
    complete: bool,
}

/// One half of what is known of Services, with the whole.
struct Half {
    of_names: bool,
    services: Arc<Mutex<Services>>,
    which: Which,
    grant: Grant,
    told: Arc<Mutex<Told>>,
}

async fn observe_service(
    mut client: Client,
    access: Arc<Access>,
    subject: &Subject,
    kind: Kind,
    told: Arc<Mutex<Told>>,
) {
    let slices = Kind::endpoint_slices();
    let services = Services { names: None, slices: Slices::default(), complete: false };
    let services = Arc::new(Mutex::new(services));
    let half = |of_names: bool, grant: Grant| Half {
        of_names,
        services: Arc::clone(&services),
        which: subject.which.clone(),
        grant,
        told: Arc::clone(&told),
    };
    let path = slices.path(&subject.namespace);
    let all = Which::Selector(String::new());
    let mut of_slices = half(false, Grant::of(&slices, &subject.namespace, &all));
    match &subject.which {
        Which::Name(name) => {
            let selector = Some(("labelSelector", format!("{SERVICE}={name}")));
            follow(&mut client, &Query { path, selector, whole: false }, &mut of_slices).await;
        }
        Which::Selector(selector) => {
            let of_slices_query =
                Query { path, selector: Some(("labelSelector", SERVICE.to_owned())), whole: false };
            let selector = Some(("labelSelector", selector.clone()));
            let query = Query { path: kind.path(&subject.namespace), selector, whole: false };
            let mut of_names = half(true, Grant::of(&kind, &subject.namespace, &subject.which));
            let mut second = Client::new(access);
            tokio::join!(
                follow(&mut client, &of_slices_query, &mut of_slices),
                follow(&mut second, &query, &mut of_names)
            );
        }
    }
}

impl Half {
    fn with(&self, change: impl FnOnce(&mut Services)) {
        change(&mut self.services.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Sink for Half {
    fn clear(&mut self) {
        self.with(|services| {
            if self.of_names { services.names = Some(Tracked::default()) } else { services.slices.clear() }
        });
    }

    fn put(&mut self, name: &str, object: &Value) {
        self.with(|services| match &mut services.names {
            Some(names) if self.of_names => names.put(name, State::Ready),
            _ => services.slices.put(name, object),
        });
    }

    fn remove(&mut self, name: &str) {
        self.with(|services| match &mut services.names {
            Some(names) if self.of_names => names.remove(name),
            _ => services.slices.remove(name),
        });
    }

    fn report(&mut self, error: Option<&ApiError>) {
        if let Some(error) = error {
            return tell_error(&self.told, error, &self.grant);
        }
        let mut state = None;
        self.with(|services| {
            services.complete |= !self.of_names;
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
            tell(&self.told, state, None);
        }
    }
}
