//! Names that lead elsewhere, or nowhere.

use std::os::unix::fs::symlink;

use super::*;

/// Without its files the policy would be one without their rules.
#[test]
fn a_directory_that_cannot_be_followed_is_an_error() {
    let shared = Fixture::new(&[("team-a/deny.yaml", "deny")]);
    let fixture = Fixture::new(&[("a.yaml", "a")]);
    symlink(shared.path("team-a"), fixture.path("team-a")).unwrap();
    assert_eq!(names(&fixture.read().unwrap()), ["a.yaml", "deny.yaml"]);

    fs::rename(shared.path("team-a"), shared.path("gone")).unwrap();
    let error = fixture.read().unwrap_err();
    assert!(
        matches!(&error, ReadError::Missing { path } if path.ends_with("team-a")),
        "{error}"
    );

    fs::remove_file(fixture.path("team-a")).unwrap();
    symlink("team-a", fixture.path("team-a")).unwrap();
    let error = fixture.read().unwrap_err();
    assert!(
        matches!(&error, ReadError::Io { path, .. } if path.ends_with("team-a")),
        "{error}"
    );
}

#[test]
fn hidden_links_are_passed_over() {
    let fixture = Fixture::new(&[("a.yaml", "a")]);
    symlink("nowhere", fixture.path("..data_tmp")).unwrap();
    symlink("user@host.1234", fixture.path(".#a.yaml")).unwrap();
    assert_eq!(names(&fixture.read().unwrap()), ["a.yaml"]);
}

#[tokio::test]
async fn a_mount_that_goes_is_told_once_and_changes_nothing() {
    let shared = Fixture::new(&[("team-a/deny.yaml", "deny")]);
    let fixture = Fixture::new(&[("a.yaml", "a")]);
    symlink(shared.path("team-a"), fixture.path("team-a")).unwrap();
    let mut watcher = fixture.watch(QUICK);
    settle(&mut watcher).await;

    fs::rename(shared.path("team-a"), shared.path("gone")).unwrap();
    assert!(matches!(next(&mut watcher).await, Err(ReadError::Missing { .. })));
    settle(&mut watcher).await;
    fs::rename(shared.path("gone"), shared.path("team-a")).unwrap();
    assert_eq!(next(&mut watcher).await.unwrap().files.len(), 2);
}
