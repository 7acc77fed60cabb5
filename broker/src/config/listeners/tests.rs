//! Which listeners are taken, and what people read when they are not.

use super::super::Sources;
use super::*;

fn listeners(settings: &[(&str, &str)]) -> Result<Vec<Listener>, String> {
    let sources = Sources {
        host_name: "here.example".into(),
        ..Sources::of(settings)
    };
    sources
        .load()
        .map(|(config, _)| config.listeners)
        .map_err(|error| error.to_string())
}

fn problem(settings: &[(&str, &str)]) -> String {
    listeners(settings).unwrap_err().replace("--set: ", "")
}

fn advertised(listener: &Listener) -> String {
    let advertised = listener.advertised.as_ref().unwrap();
    format!("{}:{}", advertised.host, advertised.port)
}

const MAP: (&str, &str) = (
    "listener.security.protocol.map",
    "PLAINTEXT:PLAINTEXT,IN:PLAINTEXT,OUT:PLAINTEXT,TLS:SSL",
);

#[test]
fn clients_are_told_what_is_advertised_or_else_what_is_bound_or_else_this_machine() {
    let both = listeners(&[
        ("listeners", "PLAINTEXT://:1"),
        ("advertised.listeners", "plaintext://a.example:2"),
    ]);
    assert_eq!(advertised(&both.unwrap()[0]), "a.example:2");
    assert_eq!(
        advertised(&listeners(&[("listeners", "PLAINTEXT://b.example:1")]).unwrap()[0]),
        "b.example:1"
    );
    assert_eq!(
        advertised(&listeners(&[("listeners", "PLAINTEXT://:1")]).unwrap()[0]),
        "here.example:1"
    );
    assert_eq!(advertised(&listeners(&[]).unwrap()[0]), "localhost:9092");
}

#[test]
fn a_port_of_zero_is_advertised_as_the_one_that_gets_bound() {
    let found = listeners(&[
        ("listeners", "PLAINTEXT://127.0.0.1:0,IN://127.0.0.1:0"),
        MAP,
    ])
    .unwrap();
    assert_eq!(
        (found[1].port, advertised(&found[1]).as_str()),
        (0, "127.0.0.1:0")
    );
    let zero = problem(&[
        ("listeners", "PLAINTEXT://a:1"),
        ("advertised.listeners", "PLAINTEXT://a:0"),
    ]);
    assert_eq!(
        zero,
        "advertised.listeners: PLAINTEXT would be advertised with port 0; give the port that clients use"
    );
}

#[test]
fn every_address_is_not_advertised() {
    let expected = "listeners: PLAINTEXT would be advertised as \"0.0.0.0\": clients can't connect to it; set \
                    advertised.listeners to the name or address under which they reach this broker";
    assert_eq!(
        problem(&[("listeners", "PLAINTEXT://0.0.0.0:9092")]),
        expected
    );
    assert!(problem(&[("listeners", "PLAINTEXT://[::]:9092")]).contains("advertised as \"::\""));
    assert!(
        problem(&[("advertised.listeners", "PLAINTEXT://:9092")]).contains("advertised as \"\"")
    );
}

#[test]
fn names_and_ports_are_unique_but_for_the_two_families_of_addresses() {
    let names = problem(&[("listeners", "PLAINTEXT://a:1,PLAINTEXT://a:2")]);
    assert_eq!(
        names,
        "listeners: PLAINTEXT is named twice; each listener needs a name of its own"
    );
    let ports = problem(&[("listeners", "PLAINTEXT://a:1,IN://b:1"), MAP]);
    assert_eq!(ports, "listeners: PLAINTEXT and IN have the same port 1");
    let families =
        listeners(&[("listeners", "PLAINTEXT://127.0.0.1:1,IN://[::1]:1"), MAP]).unwrap();
    assert_eq!((families[1].host.as_str(), families[1].port), ("::1", 1));
}

#[test]
fn what_is_no_listener_is_shown_with_what_is_wrong() {
    let url = |text| {
        problem(&[
            ("listeners", text),
            ("advertised.listeners", "PLAINTEXT://a:1"),
        ])
    };
    let first = |text| url(text).lines().next().unwrap().to_owned();
    assert_eq!(
        first("a:9092"),
        "listeners: \"a:9092\" has no ://; write NAME://host:port"
    );
    assert_eq!(
        first("PLAINTEXT://a"),
        "listeners: \"PLAINTEXT://a\" has no port; write NAME://host:port"
    );
    let port = "listeners: \"PLAINTEXT://a:65536\" has the port \"65536\", which is not a number up to 65535; write \
                NAME://host:port";
    assert_eq!(first("PLAINTEXT://a:65536"), port);
    assert!(first("PLAINTEXT://::1:9").contains("an IPv6 address without brackets"));
    assert!(first("PLAINTEXT://[zz]:9").contains("which is no IPv6 address"));
    assert!(first("A B://a:9").contains("no name of letters"));
    assert!(first("PLAINTEXT://a b:9").contains("neither a name nor an address"));
}

#[test]
fn a_name_without_a_protocol_or_with_one_that_is_not_served_is_refused() {
    let missing = problem(&[("listeners", "PLAINTEXT://a:1,EXTRA://a:2")]);
    assert_eq!(
        missing,
        "listener.security.protocol.map: EXTRA is missing; add EXTRA:PLAINTEXT"
    );
    let tls = problem(&[("listeners", "PLAINTEXT://a:1,TLS://a:2"), MAP]);
    assert_eq!(
        tls,
        "listeners: TLS speaks SSL, which is not served yet; use PLAINTEXT or take it out"
    );
    let map = problem(&[(
        "listener.security.protocol.map",
        "PLAINTEXT:PLAINTEXT,A:B,C,PLAINTEXT:PLAINTEXT",
    )]);
    let lines: Vec<&str> = map.lines().collect();
    let expected = [
        "listener.security.protocol.map: B is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
        "listener.security.protocol.map: \"C\" is not NAME:PROTOCOL",
        "listener.security.protocol.map: PLAINTEXT is named twice",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn brokers_talk_on_one_advertised_listener() {
    let named = [
        ("listeners", "OUT://a:1,IN://a:2"),
        MAP,
        ("inter.broker.listener.name", "IN"),
    ];
    let found = listeners(&named).unwrap();
    assert_eq!(
        (found[0].inter_broker, found[1].inter_broker),
        (false, true)
    );
    assert_eq!(
        problem(&named[..2]),
        "inter.broker.listener.name: no advertised listener has the name PLAINTEXT; set it to one that has"
    );
    let both = [
        ("inter.broker.listener.name", "PLAINTEXT"),
        ("security.inter.broker.protocol", "PLAINTEXT"),
    ];
    assert!(problem(&both).contains("give this or security.inter.broker.protocol, not both"));
}

#[test]
fn a_listener_that_is_not_advertised_is_served_but_not_told() {
    let found = listeners(&[
        ("listeners", "PLAINTEXT://:1,IN://:2"),
        ("advertised.listeners", "PLAINTEXT://a:1"),
        MAP,
    ]);
    assert_eq!(found.unwrap()[1].advertised, None);
    let unknown = problem(&[("advertised.listeners", "PLAINTEXT://a:1,IN://a:2")]);
    assert_eq!(
        unknown,
        "advertised.listeners: IN is not among the listeners"
    );
}

#[test]
fn addresses_may_have_their_own_number_of_connections() {
    let settings = [
        ("max.connections.per.ip", "5"),
        ("max.connections.per.ip.overrides", "10.0.0.1:7, [::1]:0"),
    ];
    let (config, _) = Sources::of(&settings).load().unwrap();
    let of = |address: &str| config.max_connections_from(address);
    assert_eq!((of("10.0.0.1"), of("::1"), of("10.0.0.2")), (7, 0, 5));
    assert!(
        problem(&[("max.connections.per.ip.overrides", "a:-1")]).contains("must be address:count")
    );
    assert!(problem(&[("http.listener", "9404")]).contains("must be empty or host:port"));
}
