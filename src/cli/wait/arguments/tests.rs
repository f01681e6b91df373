use super::*;

fn items(line: &str) -> Result<Vec<String>, Vec<String>> {
    let args = line.split_whitespace().map(OsString::from);
    match parse(args) {
        Ok(WaitCommand::Wait(arguments)) => Ok(arguments.items.iter().map(shown).collect()),
        Ok(WaitCommand::Help) => Ok(vec!["help".to_owned()]),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

fn shown(item: &Item) -> String {
    match item {
        Item::Address { name, .. } => name.clone(),
        Item::Object { kind, which, condition, namespace } => {
            let which = match which {
                Which::Name(name) => format!("/{name}"),
                Which::Selector(selector) => format!("[{selector}]"),
            };
            let condition = condition.as_ref().map(|condition| format!(" {condition}")).unwrap_or_default();
            let namespace =
                namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
            format!("{kind}{which}{condition}{namespace}")
        }
    }
}

#[test]
fn items_have_a_long_and_a_short_form() {
    for (line, expected) in [
        (
            "--namespace app --resource deployment --name postgres --condition available",
            vec!["deployment/postgres available in app"],
        ),
        (
            "-condition=available -name=postgres -resource=deployment -namespace=app",
            vec!["deployment/postgres available in app"],
        ),
        (
            "-resource deployment -name postgres -timeout 60s -resource pod -name a -name b -condition ready",
            vec!["deployment/postgres", "pod/a ready", "pod/b ready"],
        ),
        (
            "deployment/postgres pod/cache-0 job/migrate service/api -n app",
            vec![
                "deployment/postgres in app",
                "pod/cache-0 in app",
                "job/migrate in app",
                "service/api in app",
            ],
        ),
        ("deployment/postgres tcp://postgres:5432", vec!["deployment/postgres", "tcp://postgres:5432"]),
        ("pod --selector app=db,tier!=x", vec!["pod[app=db,tier!=x]"]),
        ("-l app=db pod job/x", vec!["pod[app=db]", "job/x"]),
        (
            "--for Ready certificates.cert-manager.io/web pod/a --for exists",
            vec!["certificates.cert-manager.io/web ready", "pod/a exists"],
        ),
        // Namespaces before, after, and one for all.
        ("-n a pod/x -n b pod/y", vec!["pod/x in a", "pod/y in b"]),
        ("pod/x -n a pod/y -n b", vec!["pod/x in a", "pod/y in b"]),
        ("pod/x -n a pod/y", vec!["pod/x in a", "pod/y in a"]),
        ("--help", vec!["help"]),
    ] {
        assert_eq!(items(line), Ok(expected.into_iter().map(ToOwned::to_owned).collect()), "{line}");
    }
}

#[test]
fn each_error_says_what_is_expected() {
    for (line, part) in [
        ("", "name at least one item to wait for, such as deployment/postgres or tcp://postgres:5432"),
        ("deployment", "deployment needs a name or a selector: deployment/NAME"),
        ("deployment/", "\"\" is not the name of an object"),
        ("pod/a/b", "\"a/b\" is not the name of an object"),
        ("pod/a,metadata.name=b", "is not the name of an object"),
        ("/a", "\"\" is not a kind such as pod"),
        ("p%2f/a", "\"p%2f\" is not a kind"),
        ("--name a", "--name \"a\" needs --resource"),
        ("pod/a -l app=x", "pod has both a name and --selector \"app=x\"; use one of them"),
        ("pod/a -n ../b", "--namespace \"../b\" is not a namespace"),
        ("pod/a -n Big", "--namespace \"Big\" is not a namespace"),
        ("pod/a --condition =x", "--condition \"=x\" is not a condition: write ready, available"),
        ("pod/a --for=delete", "--for \"delete\" is not supported: wait blocks until objects are ready"),
        ("pod/a --for jsonpath={x}", "--for \"jsonpath={x}\" contains \"x\" where .name"),
        ("pod/a --condition has-endpoints", "the condition has-endpoints is for services, not for pod"),
        ("tcp://h:1 --condition ready", "--condition \"ready\" is for objects, and tcp://h:1 is an address"),
        ("tcp://h", "\"tcp://h\" needs a port from 1 to 65535"),
        ("pod/a --timeout soon", "--timeout \"soon\" is not a duration such as 250ms"),
        ("pod/a --every 0", "--every \"0\" must be more than 0"),
        ("pod/a -output xml", "--output \"xml\" is not one of text, json"),
        ("pod/a --token-file t", "--token-file needs --server"),
        ("pod/a --nam=x", "--nam is not an option; the options are --resource, --name"),
        ("pod/a --timeout", "--timeout needs a value"),
    ] {
        let errors = items(line).unwrap_err();
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
        assert!(errors[0].contains(part), "{line}: {errors:?}");
    }
    let many = "pod/p ".repeat(101);
    assert!(items(&many).unwrap_err()[0].contains("more than 100 items"));
    assert_eq!(items("job/ -n A pod").unwrap_err().len(), 3, "all at once");
}

#[test]
fn a_timeout_is_a_go_duration_or_seconds_and_zero_means_never() {
    for (text, timeout) in [
        ("90", Some(Duration::from_secs(90))),
        ("1m30s", Some(Duration::from_secs(90))),
        ("1.5m", Some(Duration::from_secs(90))),
        ("0", None),
        ("0s", None),
    ] {
        let args = ["pod/a", "-timeout", text].map(OsString::from);
        let Ok(WaitCommand::Wait(arguments)) = parse(args) else { panic!("{text}") };
        assert_eq!(arguments.timeout, timeout, "{text}");
    }
}
