//! Policies of any size: so many routes, so many authorization rules and so many endpoints.
//!
//! Items stand in groups of a hundred: a service with its endpoints and routes, and rules that guard the workload
//! the policy is compiled for. All of them are in force.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The items of a group.
const GROUP: usize = 100;
/// The files that a policy is spread over, where it has as many groups.
const FILES: usize = 100;

/// A file by its name.
pub(crate) type File = (String, Vec<u8>);

/// How a policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    NativeYaml,
    NativeJson,
    IstioYaml,
    GatewayApiYaml,
}

impl Form {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NativeYaml => "native_yaml",
            Self::NativeJson => "native_json",
            Self::IstioYaml => "istio_yaml",
            Self::GatewayApiYaml => "gateway_api_yaml",
        }
    }

    /// The sizes that are measured.
    pub(crate) const fn sizes(self) -> &'static [usize] {
        match self {
            Self::NativeYaml | Self::NativeJson => &[10, 100, 1_000, 10_000, 100_000],
            Self::IstioYaml | Self::GatewayApiYaml => &[100, 1_000, 10_000],
        }
    }
}

/// The files of a policy of `size` routes, rules and endpoints.
pub(crate) fn files(form: Form, size: usize) -> Vec<File> {
    let groups: Vec<Vec<usize>> = (0..size).collect::<Vec<_>>().chunks(GROUP).map(<[_]>::to_vec).collect();
    let each = groups.len().div_ceil(FILES);
    let files = groups.chunks(each).enumerate();
    files.map(|(number, groups)| file(form, number, groups)).collect()
}

/// The same with another text behind the first `at` of one file: the caller of a rule (`/sa/s`), or the comparison of a
/// route's path (`prefix`).
pub(crate) fn change(files: &[File], at: &str, generation: usize) -> Vec<File> {
    let mut files = files.to_vec();
    let middle = files.len() / 2;
    let (_, bytes) = &mut files[middle];
    let text = String::from_utf8(std::mem::take(bytes)).unwrap();
    let to = match at {
        "prefix" => ["prefix", "exact"][generation].to_owned(),
        _ => format!("/sa/g{generation}s"),
    };
    *bytes = text.replacen(at, &to, 1).into_bytes();
    files
}

fn file(form: Form, number: usize, groups: &[Vec<usize>]) -> File {
    if form == Form::NativeJson {
        return (
            format!("{number:04}.json"),
            native_json(groups).to_string().into_bytes(),
        );
    }
    let texts = groups.iter().map(|group| match form {
        Form::IstioYaml => istio(group),
        Form::GatewayApiYaml => gateway_api(group),
        Form::NativeYaml | Form::NativeJson => native_yaml(group),
    });
    let texts: Vec<String> = texts.collect();
    (format!("{number:04}.yaml"), texts.join("---\n").into_bytes())
}

fn address(number: usize) -> String {
    let (high, middle, low) = (number / 65_536, number / 256 % 256, number % 256);
    format!("10.{high}.{middle}.{low}")
}

fn service(group: &[usize]) -> usize {
    group[0] / GROUP
}

fn native_yaml(group: &[usize]) -> String {
    let service = service(group);
    let mut text = format!("namespace: shop\nservices:\n  s{service}:\n    endpoints:\n");
    for number in group {
        let _ = writeln!(text, "      - {}:8080", address(*number));
    }
    text.push_str("    routes:\n");
    for number in group {
        let _ = writeln!(
            text,
            "      - {{ match: {{ path: {{ prefix: /api/v{number}/ }}, headers: {{ x-tenant: t{number} }} }}, timeout: 2s }}"
        );
    }
    let _ = writeln!(
        text,
        "authorization:\n  - name: a{service}\n    service: orders\n    allow:"
    );
    for number in group {
        let _ = writeln!(
            text,
            "      - {{ from: [cluster.local/ns/shop/sa/s{number}], methods: [GET], paths: [\"/api/v{number}/*\"] }}"
        );
    }
    text
}

/// JSON has one document a file.
fn native_json(groups: &[Vec<usize>]) -> Value {
    let services = groups
        .iter()
        .map(|group| (format!("s{}", service(group)), json_service(group)));
    let rules = groups.iter().map(|group| {
        let rules: Vec<_> = group.iter().map(json_rule).collect();
        json!({ "name": format!("a{}", service(group)), "service": "orders", "allow": rules })
    });
    json!({
        "namespace": "shop",
        "services": services.collect::<serde_json::Map<_, _>>(),
        "authorization": rules.collect::<Vec<_>>(),
    })
}

fn json_service(group: &[usize]) -> Value {
    let endpoints = group.iter().map(|number| format!("{}:8080", address(*number)));
    let routes = group.iter().map(|number| {
        let path = json!({ "prefix": format!("/api/v{number}/") });
        json!({ "match": { "path": path, "headers": { "x-tenant": format!("t{number}") } }, "timeout": "2s" })
    });
    json!({ "endpoints": endpoints.collect::<Vec<_>>(), "routes": routes.collect::<Vec<_>>() })
}

fn json_rule(number: &usize) -> Value {
    json!({
        "from": [format!("cluster.local/ns/shop/sa/s{number}")],
        "methods": ["GET"],
        "paths": [format!("/api/v{number}/*")],
    })
}

/// A document for each route and each rule.
fn istio(group: &[usize]) -> String {
    let service = service(group);
    let mut text = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{ name: s{service}, namespace: shop }}
spec:
  hosts: [s{service}.example.com]
  ports: [{{ number: 80, name: http, protocol: HTTP }}]
  resolution: STATIC
  endpoints:
"
    );
    for number in group {
        let _ = writeln!(text, "    - address: {}", address(*number));
    }
    for number in group {
        let _ = write!(
            text,
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: r{number}, namespace: shop }}
spec:
  hosts: [r{number}.example.com]
  http:
    - match: [{{ uri: {{ prefix: /api/v{number}/ }}, headers: {{ x-tenant: {{ exact: t{number} }} }} }}]
      route: [{{ destination: {{ host: s{service}.example.com }} }}]
      timeout: 2s
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: a{number}, namespace: shop }}
spec:
  selector: {{ matchLabels: {{ app: orders }} }}
  rules:
    - from: [{{ source: {{ principals: [cluster.local/ns/shop/sa/s{number}] }} }}]
      to: [{{ operation: {{ methods: [GET], paths: [/api/v{number}/*] }} }}]
"
        );
    }
    text
}

/// A document for each route; this dialect has no rules of authorization.
fn gateway_api(group: &[usize]) -> String {
    let service = service(group);
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: s{service}, namespace: shop }}
spec: {{ ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: s{service}, namespace: shop, labels: {{ kubernetes.io/service-name: s{service} }} }}
addressType: IPv4
ports: [{{ name: http, port: 8080 }}]
endpoints:
"
    );
    for number in group {
        let _ = writeln!(text, "  - {{ addresses: [{}] }}", address(*number));
    }
    for number in group {
        let _ = write!(
            text,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: r{number}, namespace: shop }}
spec:
  parentRefs: [{{ kind: Service, group: \"\", name: s{service}, port: 80 }}]
  rules:
    - matches:
        - path: {{ type: PathPrefix, value: /api/v{number} }}
          headers: [{{ name: x-tenant, value: t{number} }}]
      backendRefs: [{{ name: s{service}, port: 80 }}]
      timeouts: {{ request: 2s }}
"
        );
    }
    text
}
