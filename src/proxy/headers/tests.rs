use super::*;

fn applied(mut request: Request<()>) -> Request<()> {
    let authority = HeaderValue::from_static("app:3000");
    let pseudonym = Pseudonym::new(7);
    let present = SpecialFields::of(request.headers());
    RequestHop { authority: &authority, pseudonym: &pseudonym, client: None, upgrade: false, http2: None }
        .apply(&mut request, present);
    request
}

#[test]
fn cookies_in_several_http_2_fields_are_joined() {
    let request = |version| {
        let request = Request::builder().version(version).header(COOKIE, "a=1").header(COOKIE, "b=2");
        applied(request.body(()).unwrap())
    };
    assert_eq!(request(Version::HTTP_2).headers()[COOKIE], "a=1; b=2");
    assert_eq!(request(Version::HTTP_11).headers().get_all(COOKIE).iter().count(), 2);
}

#[test]
fn a_loop_is_detected_by_the_own_name_or_by_too_many_hops() {
    let is_loop = |id, headers: &HeaderMap| Pseudonym::new(id).is_loop(headers, SpecialFields::of(headers));
    let forwarded = applied(Request::new(()));
    assert!(is_loop(7, forwarded.headers()));
    assert!(!is_loop(8, forwarded.headers()));
    let mut headers = HeaderMap::new();
    for id in 0..=MAX_HOPS as u64 {
        assert!(!is_loop(99, &headers), "{id}");
        let present = SpecialFields::of(&headers);
        Pseudonym::new(id).sign(&mut headers, present);
    }
    assert!(is_loop(99, &headers), "too many hops");
}

#[test]
fn an_address_is_written_as_the_standard_library_writes_it() {
    for text in ["0.0.0.0", "9.10.99.100", "127.0.0.1", "255.255.255.255", "::1", "2001:db8::7"] {
        assert_eq!(address(text.parse().unwrap()), text);
    }
}

#[test]
fn the_client_is_appended_to_fields_that_are_there_and_added_otherwise() {
    let client: IpAddr = "10.0.0.7".parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("a"));
    let present = SpecialFields::of(&headers);
    add_client(&mut headers, present, client, "http");
    assert_eq!(headers[&X_FORWARDED_FOR], "10.0.0.7");
    assert_eq!(
        (&headers[&X_FORWARDED_HOST], &headers[&X_FORWARDED_PROTO]),
        (&"a".parse().unwrap(), &"http".parse().unwrap())
    );
    assert!(!headers.contains_key(FORWARDED));
    headers.insert(FORWARDED, HeaderValue::from_static("for=b"));
    let present = SpecialFields::of(&headers);
    add_client(&mut headers, present, "::1".parse().unwrap(), "https");
    assert_eq!(headers[&X_FORWARDED_FOR], "10.0.0.7, ::1");
    assert_eq!(headers[FORWARDED], "for=b, for=\"[::1]\";proto=https");
    assert_eq!(headers[&X_FORWARDED_PROTO], "http");
}
