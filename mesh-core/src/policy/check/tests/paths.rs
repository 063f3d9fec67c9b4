use super::*;

fn with(normalization: &str, action: &str, rules: &str) -> Vec<String> {
    let settings = format!(
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {{ meshConfig: {{ pathNormalization: {{ normalization: {normalization} }} }} }}\n"
    );
    let policy = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: p }}\nspec: {{ action: {action}, rules: [{rules}] }}\n"
    );
    findings(&[&settings, &policy])
        .into_iter()
        .filter(|line| line.contains("MESH0301"))
        .collect()
}

#[test]
fn nothing_is_denied_by_a_path_that_is_not_normalised() {
    let paths = "{ to: [{ operation: { paths: [/admin] } }] }";
    let others = "{ to: [{ operation: { methods: [GET], notPaths: [/health] } }] }";
    let refusal = "b:4:31: error[MESH0301]: the rule denies by path, and paths are not normalised: another spelling would pass it";
    for (normalization, action, rules, expected) in [
        ("NONE", "DENY", paths, &[refusal][..]),
        ("NONE", "DENY", others, &[refusal]),
        ("NONE", "ALLOW", paths, &[]),
        ("NONE", "DENY", "{ to: [{ operation: { methods: [GET] } }] }", &[]),
        ("NONE", "AUDIT", paths, &[]),
        ("BASE", "DENY", paths, &[]),
        ("DECODE_AND_MERGE_SLASHES", "DENY", paths, &[]),
    ] {
        assert_eq!(
            with(normalization, action, rules),
            expected,
            "{normalization} {action} {rules}"
        );
    }
    let excepted = with("NONE", "ALLOW", others);
    assert_eq!(excepted.len(), 1, "what an ALLOW excepts is denied: {excepted:?}");
}
