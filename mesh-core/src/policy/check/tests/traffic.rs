use super::{findings, istio};

fn mode(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec: {{ {spec} }}\n"
    )
}

fn rule(host: &str, traffic: &str) -> String {
    istio(
        "DestinationRule",
        "r",
        &format!("host: {host}, trafficPolicy: {{ {traffic} }}"),
    )
}

const STRICT: &str = "mtls: { mode: STRICT }";
const PLAIN: &str = "tls: { mode: DISABLE }";

#[test]
fn plain_text_to_what_takes_only_mtls_is_told() {
    let strict = mode("m", "default", STRICT);
    assert_eq!(
        findings(&[&rule("shop", PLAIN), &strict]),
        ["a:1:1: warning[MESH0513]: `shop.default.svc.cluster.local` is called with plain text, and takes mTLS only"]
    );
    let mutual = "tls: { mode: ISTIO_MUTUAL }";
    assert_eq!(
        findings(&[
            &rule("shop", mutual),
            &mode("m", "istio-system", "mtls: { mode: DISABLE }")
        ]),
        ["a:1:1: warning[MESH0513]: `shop.default.svc.cluster.local` is called with mTLS, and takes plain text only"]
    );
    assert_eq!(
        findings(&[&rule("'*.local'", PLAIN), &mode("m", "istio-system", STRICT)]).len(),
        1
    );
    let subset = "host: shop, subsets: [{ name: v1, trafficPolicy: { tls: { mode: DISABLE } } }]";
    assert_eq!(findings(&[&istio("DestinationRule", "r", subset), &strict]).len(), 1);
}

#[test]
fn plain_text_is_not_told_where_the_server_may_take_it() {
    let open = mode(
        "open",
        "default",
        "selector: { matchLabels: { app: shop } }, mtls: { mode: PERMISSIVE }",
    );
    let strict = mode("m", "default", STRICT);
    assert_eq!(findings(&[&rule("shop", PLAIN)]), [""; 0]);
    assert_eq!(findings(&[&rule("shop", PLAIN), &mode("m", "other", STRICT)]), [""; 0]);
    assert_eq!(findings(&[&rule("shop", PLAIN), &strict, &open]), [""; 0]);
    assert_eq!(
        findings(&[&rule("db.example.com", PLAIN), &mode("m", "istio-system", STRICT)]),
        [""; 0]
    );
    assert_eq!(
        findings(&[&rule("shop", "loadBalancer: { simple: RANDOM }"), &strict]),
        [""; 0]
    );
}

#[test]
fn a_share_of_endpoints_that_is_less_than_one_is_told() {
    let of = |count: usize, percent: &str| {
        let endpoints: Vec<String> = (1..=count).map(|host| format!("10.0.0.{host}:80")).collect();
        let text = format!(
            "services: {{ shop: {{ endpoints: [{}], outliers: {{ consecutive_5xx: 5{percent} }} }} }}\n",
            endpoints.join(", ")
        );
        findings(&[&text])
    };
    assert_eq!(
        of(9, ""),
        [
            "a:1:13: warning[MESH0517]: no endpoint of `shop.default.svc.cluster.local` is ever ejected: it has 9, and at most 10 % of them may be"
        ]
    );
    assert_eq!(of(3, ", max_ejected_percent: 30").len(), 1);
    assert_eq!(of(3, ", max_ejected_percent: 34"), [""; 0]);
    assert_eq!(of(10, ""), [""; 0]);
    assert_eq!(of(1, ""), [""; 0], "none could take over");
}

#[test]
fn blocks_that_a_port_leaves_out_are_told() {
    let port = |blocks: &str| {
        let outer = "outlierDetection: { interval: 5s }, tls: { mode: ISTIO_MUTUAL }";
        let ports = format!("portLevelSettings: [{{ port: {{ number: 80 }}, {blocks} }}]");
        findings(&[&rule("shop", &format!("{outer}, {ports}"))])
    };
    assert_eq!(
        port("loadBalancer: { simple: RANDOM }"),
        [
            "a:1:1: warning[MESH0520]: `outlierDetection` and `tls` of `shop.default.svc.cluster.local` are not in force for port 80"
        ]
    );
    assert_eq!(
        port("outlierDetection: { interval: 5s }, tls: { mode: DISABLE }"),
        [""; 0]
    );
}

#[test]
fn a_name_of_two_parts_is_told_where_a_service_is_meant() {
    let place = "namespace: prod\nservices: { reviews: {} }\n";
    assert_eq!(
        findings(&[place, &rule("reviews.prod", PLAIN)]),
        ["b:1:1: warning[MESH0518]: host `reviews.prod` is not completed: it has a dot"]
    );
    assert_eq!(findings(&[place, &rule("example.com", PLAIN)]), [""; 0]);
    assert_eq!(
        findings(&[place, &rule("reviews.prod.svc.cluster.local", PLAIN)]),
        [""; 0]
    );
    assert_eq!(
        findings(&["services: { reviews.default: {} }\n", &rule("reviews.default", PLAIN)]),
        [""; 0]
    );
}
