//! What the system's events amount to.

use std::collections::BTreeSet;

use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag, ModifyKind, RemoveKind};
use notify::{Event, EventKind};

use super::*;

const MODIFIED: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

fn event(kind: EventKind, path: &Path) -> notify::Result<Event> {
    Ok(Event::new(kind).add_path(path.to_path_buf()))
}

async fn is_signalled(signals: &Signals) -> bool {
    timeout(Duration::ZERO, signals.changed.notified()).await.is_ok()
}

#[tokio::test]
async fn only_events_that_concern_policy_wake_the_watcher() {
    let modified = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let (created, removed) = (EventKind::Create(CreateKind::Any), EventKind::Remove(RemoveKind::Any));
    let folder = tempfile::tempdir().unwrap();
    for (kind, path, wakes) in [
        (modified, "policy/a.yaml", true),
        (created, "policy/sub", true),
        (removed, "policy", true),
        (created, "", true),
        (closed, "policy/a.yaml", true),
        (opened, "policy/a.yaml", false),
        (modified, "of-another-program", false),
        (created, "policy-of-another", false),
        (created, "..data", true),
    ] {
        let signals = Arc::new(Signals::new(&[folder.path().join("policy")]));
        let mut notifier = Notifier::new(Arc::clone(&signals)).unwrap();
        notifier.arm(&BTreeSet::from([folder.path().to_path_buf()]), BTreeSet::new());
        signals.on_event(&event(kind, &folder.path().join(path)));
        assert_eq!(is_signalled(&signals).await, wakes, "{kind:?} {path}");
    }
}

/// L12: where events were lost, everything is looked at, and nobody is waited for.
#[tokio::test]
async fn lost_events_wake_the_watcher_and_forget_writers() {
    let signals = Signals::new(&[PathBuf::from("/policy")]);
    let modified = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    signals.on_event(&event(modified, Path::new("/policy/a.yaml")));
    assert!(signals.is_being_written(SOON) && is_signalled(&signals).await);

    signals.on_event(&Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));

    assert!(!signals.is_being_written(SOON));
    assert!(is_signalled(&signals).await);
    signals.on_event(&Err(notify::Error::generic("broken")));
    assert!(is_signalled(&signals).await);
}

#[test]
fn what_is_written_is_waited_for_where_it_is_policy() {
    let signals = Arc::new(Signals::new(
        &["/etc/mesh/policy", "/etc/more/mesh.conf"].map(PathBuf::from),
    ));
    let mut notifier = Notifier::new(Arc::clone(&signals)).unwrap();
    // The parents are watched, too.
    let watched = ["/etc/mesh", "/mnt", "/mnt/policy", "/mnt/policy/team", "/etc/more"];
    let held = [
        "/etc/mesh/policy",
        "/mnt/policy",
        "/mnt/policy/team",
        "/etc/more/mesh.conf",
    ];
    notifier.arm(&watched.map(PathBuf::from).into(), held.map(PathBuf::from).into());
    for (path, is_waited_for) in [
        ("/etc/mesh/policy/a.yaml", true),
        ("/etc/mesh/policy/new/a.yaml", true),
        ("/mnt/policy/a.yaml", true),
        ("/mnt/policy/team/new.yaml", true),
        ("/etc/more/mesh.conf", true),
        ("/etc/mesh/policy/README.md", false),
        ("/etc/mesh/neighbour.yaml", false),
        ("/mnt/neighbour.yaml", false),
        ("/etc/more/neighbour.json", false),
    ] {
        signals.on_event(&event(MODIFIED, Path::new(path)));
        assert_eq!(signals.is_being_written(SOON), is_waited_for, "{path}");
        signals.forget_writers(Duration::ZERO);
    }
}

/// The event that it was closed may be lost.
#[test]
fn a_writer_that_was_forgotten_is_waited_for_again() {
    let signals = Signals::new(&[PathBuf::from("/policy")]);
    let write = || signals.on_event(&event(MODIFIED, Path::new("/policy/a.yaml")));
    write();
    assert!(signals.is_being_written(SOON));
    signals.forget_writers(Duration::ZERO);
    assert!(!signals.is_being_written(SOON));
    write();
    assert!(signals.is_being_written(SOON));
}

/// It stays open for longer than a test waits.
#[tokio::test]
async fn a_neighbour_that_is_written_holds_no_change_back() {
    const TIMING: WatchTiming = WatchTiming {
        open_writer: Duration::from_secs(3_600),
        ..QUICK
    };
    let fixture = Fixture::new(&[("policy/a.yaml", "old"), ("neighbour.yaml", "")]);
    let mut watcher = watch(PolicyFiles::new([fixture.path("policy")]), TIMING);
    settle(&mut watcher).await;
    let mut neighbour = File::create(fixture.path("neighbour.yaml")).unwrap();
    neighbour.write_all(b"more and more").unwrap();
    settle(&mut watcher).await;

    fixture.rename_over("policy/a.yaml", "new");

    assert_eq!(next(&mut watcher).await.unwrap().files[0].bytes, b"new");
    drop(neighbour);
}

/// The system tells of a file by the name of the directory that is watched, which may be the real one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn halves_are_not_taken_behind_a_link() {
    let fixture = Fixture::new(&[("real/a.yaml", "old")]);
    std::os::unix::fs::symlink("real", fixture.path("policy")).unwrap();
    let mut watcher = watch(PolicyFiles::new([fixture.path("policy")]), NOTIFIED);
    settle(&mut watcher).await;

    let mut file = File::create(fixture.path("policy/new.yaml")).unwrap();
    file.write_all(b"first half, ").unwrap();
    settle(&mut watcher).await;
    file.write_all(b"second half").unwrap();
    drop(file);

    let set = next(&mut watcher).await.unwrap();
    assert_eq!(set.files[1].bytes, b"first half, second half");
}
