use super::{findings, istio};

/// What is told of a route of this host, bound to a gateway with these hosts.
fn served(host: &str, hosts: &str, bindings: &str) -> Vec<String> {
    let gateway = format!("servers: [{{ port: {{ number: 80, name: http, protocol: HTTP }}, hosts: [{hosts}] }}]");
    let table = format!(
        "hosts: ['{host}'], gateways: [{bindings}], http: [{{ route: [{{ destination: {{ host: a.example.org }} }}] }}]"
    );
    findings(&[
        &istio("VirtualService", "v", &table),
        &istio("Gateway", "front", &gateway),
    ])
}

#[test]
fn a_host_that_no_gateway_of_its_routes_serves_is_told() {
    assert_eq!(
        served("b.example.com", "a.example.com", "front"),
        ["a:4:17: warning[MESH0525]: no gateway of these routes serves the host `b.example.com`"]
    );
    for (host, hosts) in [
        ("example.com", "'*.example.com'"),
        ("*.example.com", "'*.example.org', example.com"),
        ("a.example.com", "'other/*'"),
        ("a.example.com", "'other/a.example.com', b.example.com"),
    ] {
        assert_eq!(served(host, hosts, "front").len(), 1, "{host} {hosts}");
    }
}

#[test]
fn a_host_that_a_gateway_serves_in_part_is_not_told() {
    for (host, hosts) in [
        ("a.example.com", "a.example.com"),
        ("a.example.com", "'*.example.com'"),
        ("a.example.com", "'*'"),
        ("*.example.com", "a.example.com"),
        ("*.example.com", "'*.b.example.com'"),
        ("*.b.example.com", "'*.example.com'"),
        ("a.example.com", "'default/a.example.com'"),
        ("a.example.com", "'./a.example.com'"),
        ("a.example.com", "'*/*.com', x.example.com"),
    ] {
        assert_eq!(served(host, hosts, "front"), [""; 0], "{host} {hosts}");
    }
    assert_eq!(served("b.example.com", "a.example.com", "front, mesh"), [""; 0]);
}
