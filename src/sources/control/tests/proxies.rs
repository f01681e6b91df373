//! Proxies of several sources.

use super::*;
use crate::sources::ChangeRefusal;

const STOCK: (&str, &str) = ("PROXIES", "stock=:18090->http://stock:8080");

impl Control {
    fn names(&self) -> String {
        let proxies = self.proxies();
        let shown = proxies.iter().map(|(proxy, source, _)| format!("{}:{}", proxy.name, source.name()));
        shown.collect::<Vec<_>>().join(" ")
    }

    fn put_stock(&self, name: &str) -> Result<ChangeResult, ChangeRefusal> {
        let proxy = json!({"listen": ":18091", "upstream": "http://db:80"});
        self.change("test", None, ApiChange::PutProxy { name: name.to_owned(), proxy })
    }

    fn remove(&self, name: &str) -> Result<ChangeResult, ChangeRefusal> {
        self.change("test", None, ApiChange::DeleteProxy { name: name.to_owned() })
    }
}

fn errors(result: Result<ChangeResult, ChangeRefusal>) -> Vec<String> {
    match result {
        Err(ChangeRefusal::Invalid(errors)) => errors.lines(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_without_proxies_or_removed_keeps_them() {
    let control = control(&[STOCK, ("FAULTS_FILE", "/faults")]);
    let read = |content| control.read(Source::File, content);
    read(Ok(Some(
        "proxies: [{name: db, listen: ':18091', upstream: 'http://db'}]\nfaults: [{name: a, target: db, mode: hang}]",
    )));
    assert_eq!((control.names().as_str(), control.shown().as_str()), ("stock:environment db:file", "a:file"));
    for content in [Ok(None), Err("is not UTF-8"), Ok(Some("faults: []"))] {
        read(content);
        assert_eq!(control.names(), "stock:environment db:file", "{content:?}");
    }
    read(Ok(Some("proxies: []")));
    assert_eq!(control.names(), "stock:environment");
}

#[tokio::test]
async fn rule_changes_never_remove_a_proxy() {
    let control = control(&[STOCK]);
    control.put_stock("db").unwrap();
    control.must(put("a", down("db")));
    control.must(ApiChange::PutPlan(json!({"faults": []})));
    control.must(ApiChange::Reset { renew: true });
    assert_eq!(control.names(), "stock:environment db:api");
    control.must(ApiChange::PutPlan(json!({"proxies": []})));
    assert_eq!(control.names(), "stock:environment");
}

#[tokio::test]
async fn a_proxy_is_removed_only_explicitly_and_not_while_rules_target_it() {
    let control = control(&[STOCK]);
    control.must(put("a", down("stock")));
    assert_eq!(
        errors(control.remove("stock")),
        ["proxy stock is the target of rule a; remove the rules first"]
    );
    control.must(ApiChange::DeleteFault { name: "a".to_owned() });
    assert!(control.remove("stock").is_ok());
    assert_eq!(control.names(), "");
    assert_eq!(control.remove("stock"), Err(ChangeRefusal::NoProxy { name: "stock".to_owned() }));
    assert!(!control.put_stock("stock").unwrap().stopped);
    assert_eq!(control.names(), "stock:api");
}

#[tokio::test]
async fn a_rule_on_an_unknown_proxy_names_the_known_ones() {
    let control = control(&[STOCK]);
    assert_eq!(
        errors(control.change("test", None, put("a", down("stok")))),
        [
            r#"a: target="stok": is not one of liveness, readiness, startup, dependency, traffic, listener, process, stock; did you mean "stock"?"#
        ]
    );
    assert_eq!(
        errors(control.put_stock("traffic")),
        ["name: the name traffic is reserved; a proxy needs another one"]
    );
    control.put_stock("db").unwrap();
    assert_eq!(
        errors(control.put_stock("other")),
        [
            r#"proxy (other): listen="127.0.0.1:18091": is also the port of proxy db; each listener needs its own"#
        ]
    );
    assert_eq!(control.names(), "stock:environment db:api");
}

#[tokio::test]
async fn an_annotation_adds_proxies_only_if_allowed() {
    let plan = "proxies: [{name: db, listen: ':18091', upstream: 'http://db'}]";
    for (allowed, names) in [("false", "stock:environment"), ("true", "stock:environment db:annotation")] {
        let vars = [STOCK, ("ANNOTATION_FILE", "/a"), ("ANNOTATION_PROXIES", allowed)];
        let control = control(&vars);
        control.read(Source::Annotation, Ok(Some(plan)));
        assert_eq!(control.names(), names, "{allowed}");
    }
}
