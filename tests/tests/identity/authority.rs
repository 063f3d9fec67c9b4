//! The development authority as a source, and what is told of an identity.

use super::*;

fn with_authority<'d>(world: &World, ttl: Duration) -> impl Fn(MeshBuilder) -> MeshBuilder + use<'d> {
    let directory = world.folder("ca");
    move |builder| builder.development_ca(&directory, ttl)
}

#[tokio::test]
async fn processes_of_one_development_authority_trust_each_other_and_renew_themselves() {
    let world = World::new();
    let authority = with_authority(&world, Duration::from_secs(4));
    let shop = Shop::open(world, &authority).await;
    let builder = Mesh::builder().policy(shop.world.policies());
    let builder = authority(builder.workload(Workload::new("shop", "web")));
    let web = builder.build().await.unwrap();

    let client = web.client();
    assert_eq!(order(&client).await.unwrap().text, "an order");
    until("renewals", || {
        shop.status().rotations > 0 && web.identity_status().unwrap().rotations > 0
    })
    .await;

    assert_eq!(order(&client).await.unwrap().text, "an order");
    let page = shop.identity_page().await;
    assert_eq!(
        (&page["source"]["kind"], &page["phase"]),
        (&"issuer".into(), &"fresh".into())
    );
    assert!(page["renews_at"].as_u64() <= page["late_from"].as_u64());
    assert!(page["renews_at"].as_u64() > page["not_before"].as_u64());
}

#[test]
fn processes_that_start_at_once_make_one_authority() {
    let directory = tempfile::tempdir().unwrap();
    let make = || {
        let ca = DevCa::load_or_create(directory.path().join("ca"), domain("td"), SystemTime::now());
        ca.unwrap().certificate_pem().to_owned()
    };

    let made = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        makers
            .into_iter()
            .map(|maker| maker.join().unwrap())
            .collect::<Vec<_>>()
    });

    assert!(made.iter().all(|certificate| *certificate == made[0]));
}

#[tokio::test]
async fn the_pages_and_the_metrics_tell_of_the_identity_and_of_its_files() {
    let world = World::new();
    let directory = world.folder("identity");
    let id = SpiffeId::parse(ORDERS).unwrap();
    let issue = |world: &World| {
        world
            .ca()
            .write_workload(&directory, &id, HOUR, SystemTime::now())
            .unwrap()
    };
    issue(&world);
    let shop = Shop::open(world, |builder| builder.identity_directory(&directory)).await;

    let page = shop.identity_page().await;
    assert_eq!((&page["id"], &page["phase"]), (&ORDERS.into(), &"fresh".into()));
    assert_eq!((&page["failing"], &page["last_failure"]), (&false.into(), &Value::Null));
    let trust = serde_json::json!({ "authorities": 1, "revocation_lists": 0, "revoked": 0, "next_update": null });
    assert_eq!(page["trust"], serde_json::json!({ "cluster.local": trust }));
    assert!(page["source"]["name"].as_str().unwrap().contains("identity/tls.crt"));
    let left = page["expires_in_seconds"].as_u64().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    assert!(shop.page("/").await.contains("/identity"));

    std::fs::write(directory.join("ca.crt"), "broken").unwrap();
    until("the failure", || shop.status().failing).await;
    issue(&shop.world);
    until("the rotation", || shop.status().rotations == 1).await;

    let metrics = shop.page("/metrics").await;
    let not_after = shop.status().lifetime.not_after();
    let not_after = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for line in [
        format!("mesh_identity_not_after_timestamp_seconds {not_after}"),
        "mesh_identity_generation 2".into(),
        "mesh_identity_withdrawn 0".into(),
        "mesh_identity_trust_domains 1".into(),
        "mesh_identity_revocation_next_update_timestamp_seconds 0".into(),
        r#"mesh_identity_phase{phase="fresh"} 1"#.into(),
        r#"mesh_identity_phase{phase="expired"} 0"#.into(),
        "mesh_identity_rotations_total 1".into(),
        r#"mesh_identity_failures_total{reason="denied"} 0"#.into(),
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
    let expires = metrics
        .lines()
        .find_map(|line| line.strip_prefix("mesh_identity_expires_in_seconds "));
    assert!(expires.unwrap().parse::<f64>().unwrap() > 3500.0);
    let page = shop.identity_page().await;
    assert!(page["failures"]["invalid"].as_u64() >= Some(1), "{page}");
    assert_eq!(page["failing"], false);
}
