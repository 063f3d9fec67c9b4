use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

#[cfg(unix)]
mod links;
mod signals;

/// Long enough for a slow machine; no test waits for it to pass.
const SOON: Duration = Duration::from_secs(10);
/// So short that what a test expects not to happen would have happened many times.
const QUICK: WatchTiming = WatchTiming {
    poll: Duration::from_millis(20),
    settle: Duration::from_millis(5),
    open_writer: Duration::from_secs(10),
};
/// A poll that no test sees: only notifications can bring a change.
const NOTIFIED: WatchTiming = WatchTiming {
    poll: Duration::from_secs(3_600),
    ..QUICK
};

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let fixture = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (name, text) in files {
            fixture.write(name, text);
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a file in one step, as editors do.
    fn rename_over(&self, name: &str, text: &str) {
        self.write(".new.tmp", text);
        fs::rename(self.path(".new.tmp"), self.path(name)).unwrap();
    }

    fn files(&self) -> PolicyFiles {
        PolicyFiles::new([self.folder.path()])
    }

    fn read(&self) -> Result<FileSet, ReadError> {
        self.files().read()
    }

    fn watch(&self, timing: WatchTiming) -> Watcher {
        watch(self.files(), timing)
    }
}

/// Watches files from what they hold now.
fn watch(files: PolicyFiles, timing: WatchTiming) -> Watcher {
    let known = files.read().ok().map(|set| set.fingerprint);
    Watcher::start(files, timing, known)
}

fn polled(files: PolicyFiles) -> Watcher {
    let known = files.read().ok().map(|set| set.fingerprint);
    Watcher::start_with(files, QUICK, known, |_| {
        Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
    })
}

async fn next(watcher: &mut Watcher) -> Result<FileSet, ReadError> {
    timeout(SOON, watcher.next_change()).await.expect("no change was seen")
}

/// The text of the next change's only file.
async fn next_text(watcher: &mut Watcher) -> String {
    let set = next(watcher).await.unwrap();
    let [file] = set.files.as_slice() else {
        panic!("{:?}", names(&set));
    };
    String::from_utf8(file.bytes.clone()).unwrap()
}

/// Waits until the only file has this text; a file that is not replaced in one step may be seen empty before.
async fn until_text(watcher: &mut Watcher, text: &str) {
    while next_text(watcher).await != text {}
}

/// Waits until the only file is back with this text.
async fn until_back(watcher: &mut Watcher, text: &str) {
    loop {
        // The moment without the file may be seen or not.
        match next(watcher).await {
            Ok(set) if set.files[0].bytes == text.as_bytes() => return,
            Ok(_) => {}
            Err(error) => assert!(error.is_missing(), "{error}"),
        }
    }
}

/// Lets the watcher look once, so that its watches are in place, and expects that it finds nothing.
async fn settle(watcher: &mut Watcher) {
    assert!(
        timeout(Duration::from_millis(100), watcher.next_change())
            .await
            .is_err()
    );
}

fn names(set: &FileSet) -> Vec<&str> {
    set.files
        .iter()
        .map(|file| file.name.rsplit('/').next().unwrap())
        .collect()
}

#[test]
fn a_directory_is_its_policy_files_in_order() {
    let fixture = Fixture::new(&[
        ("b.yml", "b"),
        ("a.yaml", "a"),
        ("sub/deep/c.json", "{}"),
        ("README.md", "no"),
        (".hidden.yaml", "no"),
        ("..2026_01/old.yaml", "no"),
        (".a.yaml.swp", "no"),
        ("a.yaml~", "no"),
        ("#a.yaml#", "no"),
        ("4913", "no"),
    ]);
    let set = fixture.read().unwrap();
    assert_eq!(names(&set), ["a.yaml", "b.yml", "c.json"]);
    assert_eq!(set.files[0].bytes, b"a");
    assert!(set.files[2].name.ends_with("sub/deep/c.json"));
    assert_eq!(fixture.read().unwrap(), set);
}

#[test]
fn a_fingerprint_tells_names_and_contents_apart_and_not_places() {
    let of = |files: &[(&str, &str)]| Fixture::new(files).read().unwrap().fingerprint;
    let one = of(&[("a.yaml", "x"), ("b.yaml", "y")]);
    assert_eq!(one, of(&[("b.yaml", "y"), ("a.yaml", "x")]));
    for other in [
        of(&[("a.yaml", "y"), ("b.yaml", "x")]),
        of(&[("a.yaml", "x"), ("c.yaml", "y")]),
        of(&[("a.yaml", "xy"), ("b.yaml", "")]),
        of(&[("a.yaml", "x")]),
    ] {
        assert_ne!(one, other);
    }
    assert_eq!(one.to_string().len(), 64);
}

#[test]
fn files_and_directories_can_be_mixed_and_are_read_once() {
    let fixture = Fixture::new(&[("a.yaml", "a"), ("b.yaml", "b"), ("other/x.conf", "x")]);
    let files = PolicyFiles::new([
        fixture.path("b.yaml"),
        fixture.folder.path().to_path_buf(),
        fixture.path("other/x.conf"),
        fixture.folder.path().to_path_buf(),
    ]);
    let set = files.read().unwrap();
    assert_eq!(names(&set), ["a.yaml", "b.yaml", "x.conf"]);
}

#[test]
fn paths_within_each_other_are_read_once_in_any_order() {
    let fixture = Fixture::new(&[("shop/a.yaml", "a"), ("shop/more/b.yaml", "b")]);
    fs::create_dir(fixture.path("none")).unwrap();
    let read = |paths: &[&str]| PolicyFiles::new(paths.iter().map(|path| fixture.path(path))).read();
    let all = read(&[""]).unwrap();
    assert_eq!(names(&all), ["a.yaml", "b.yaml"]);

    for paths in [
        ["shop", ""],
        ["", "shop"],
        ["shop/more", "shop"],
        ["", "shop/more"],
        ["shop/more", "shop/more/b.yaml"],
        ["shop/more/b.yaml", "shop/more"],
    ] {
        let set = read(&paths).unwrap_or_else(|error| panic!("{paths:?}: {error}"));
        assert_eq!(names(&set).last(), Some(&"b.yaml"), "{paths:?}");
        assert!(set.files.len() <= 2, "{paths:?}");
    }
    for paths in [["none", ""], ["", "none"]] {
        let empty = read(&paths);
        assert!(
            matches!(&empty, Err(ReadError::Empty { path }) if path.ends_with("none")),
            "{paths:?}: {empty:?}"
        );
    }
}

#[test]
fn what_is_not_there_is_no_empty_policy() {
    let fixture = Fixture::new(&[]);
    assert!(matches!(fixture.read(), Err(ReadError::Empty { path }) if path == fixture.folder.path()));
    let missing = PolicyFiles::new([fixture.path("no.yaml")]).read().unwrap_err();
    assert!(
        missing.is_missing() && missing.to_string().contains("no.yaml"),
        "{missing}"
    );
    assert_eq!(PolicyFiles::new(Vec::<PathBuf>::new()).read(), Err(ReadError::NoPaths));
}

/// L9.
#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    let fixture = Fixture::new(&[("a.yaml", "a")]);
    File::create(fixture.path("b.yaml"))
        .unwrap()
        .set_len(FILE_LIMIT)
        .unwrap();
    assert_eq!(fixture.read().unwrap().files.len(), 2);
    File::create(fixture.path("b.yaml"))
        .unwrap()
        .set_len(FILE_LIMIT + 1)
        .unwrap();
    let error = fixture.read().unwrap_err();
    assert!(
        matches!(&error, ReadError::TooLarge { path, .. } if path.ends_with("b.yaml")),
        "{error}"
    );
}

/// L9.
#[test]
fn all_files_together_have_a_limit() {
    let fixture = Fixture::new(&[]);
    for n in 0..9 {
        File::create(fixture.path(&format!("{n}.yaml")))
            .unwrap()
            .set_len(FILE_LIMIT)
            .unwrap();
    }
    assert!(matches!(
        fixture.read(),
        Err(ReadError::TotalTooLarge { limit: TOTAL_LIMIT, .. })
    ));
}

/// L8.
#[cfg(unix)]
#[test]
fn odd_files_are_errors_and_never_hang() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    type Make = fn(&Path);
    let odd: [(&str, Make); 5] = [
        ("a pipe", |path| {
            assert!(
                std::process::Command::new("mkfifo")
                    .arg(path)
                    .status()
                    .unwrap()
                    .success()
            )
        }),
        ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
        ("does not exist", |path| symlink("nowhere", path).unwrap()),
        ("cannot read", |path| symlink(path.file_name().unwrap(), path).unwrap()),
    ];
    for (words, make) in odd {
        let fixture = Fixture::new(&[("a.yaml", "a")]);
        let path = fixture.path("odd.yaml");
        make(&path);
        for files in [fixture.files(), PolicyFiles::new([path])] {
            let error = files.read().unwrap_err().to_string();
            assert!(error.contains("odd.yaml") && error.contains(words), "{words}: {error}");
        }
    }
}

#[cfg(unix)]
#[test]
fn directories_that_contain_themselves_end() {
    let fixture = Fixture::new(&[("sub/a.yaml", "a")]);
    std::os::unix::fs::symlink(fixture.folder.path(), fixture.path("sub/loop")).unwrap();
    assert_eq!(names(&fixture.read().unwrap()), ["a.yaml"]);

    let deep = Fixture::new(&[(&format!("{}a.yaml", "d/".repeat(40)), "a")]);
    assert!(matches!(deep.read(), Err(ReadError::TooMany { .. })));
}

/// L23.
#[cfg(unix)]
#[test]
fn unsafe_files_are_warned_of() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let outside = Fixture::new(&[("b.yaml", "b")]);
    let fixture = Fixture::new(&[("a.yaml", "a")]);
    fs::set_permissions(fixture.path("a.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fixture.read().unwrap().warnings.is_empty());

    fs::set_permissions(fixture.path("a.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
    symlink(outside.path("b.yaml"), fixture.path("b.yaml")).unwrap();

    let warnings = fixture.read().unwrap().warnings;
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("a.yaml") && text.contains("every user")),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("b.yaml") && text.contains("outside")),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn what_is_known_is_no_change() {
    let fixture = Fixture::new(&[("a.yaml", "1")]);
    let mut watcher = fixture.watch(QUICK);
    settle(&mut watcher).await;
    // The same content again.
    fixture.rename_over("a.yaml", "1");
    settle(&mut watcher).await;
}

#[tokio::test]
async fn what_changed_before_the_first_look_is_seen() {
    let fixture = Fixture::new(&[("a.yaml", "1")]);
    let mut watcher = fixture.watch(NOTIFIED);
    fixture.write("a.yaml", "2");
    assert_eq!(next_text(&mut watcher).await, "2");

    let mut unknown = Watcher::start(fixture.files(), NOTIFIED, None);
    assert_eq!(next_text(&mut unknown).await, "2");
}

/// L2: what editors and deployments do, found by notification and by the poll alone.
#[tokio::test]
async fn every_way_to_change_a_file_is_seen() {
    let fixture = Fixture::new(&[("a.yaml", "0")]);
    type Start = fn(PolicyFiles) -> Watcher;
    let ways: [(&str, Start); 2] = [("notified", |files| watch(files, NOTIFIED)), ("polled", polled)];
    for (way, start) in ways {
        let mut watcher = start(fixture.files());
        settle(&mut watcher).await;
        for round in 1..=3 {
            let text = format!("{way} over {round}");
            fixture.rename_over("a.yaml", &text);
            assert_eq!(next_text(&mut watcher).await, text);
        }
        fixture.write("a.yaml", way);
        until_text(&mut watcher, way).await;
        fs::remove_file(fixture.path("a.yaml")).unwrap();
        fixture.write("a.yaml", "again");
        until_back(&mut watcher, "again").await;
        fixture.write(".a.yaml.swp", "swap");
        settle(&mut watcher).await;
        fixture.write("0.yaml", "new");
        assert_eq!(next(&mut watcher).await.unwrap().files.len(), 2);
        fs::remove_file(fixture.path("0.yaml")).unwrap();
        assert_eq!(next(&mut watcher).await.unwrap().files.len(), 1);
    }
}

#[tokio::test]
async fn a_single_file_survives_rename_overs() {
    let fixture = Fixture::new(&[("conf/mesh.conf", "0")]);
    let mut watcher = watch(PolicyFiles::new([fixture.path("conf/mesh.conf")]), NOTIFIED);
    settle(&mut watcher).await;
    for round in ["1", "2", "3"] {
        fixture.rename_over("conf/mesh.conf", round);
        assert_eq!(next_text(&mut watcher).await, round);
    }
}

#[tokio::test]
async fn a_new_subdirectory_is_watched() {
    let fixture = Fixture::new(&[("a.yaml", "a")]);
    let mut watcher = fixture.watch(NOTIFIED);
    settle(&mut watcher).await;
    fixture.write("team/b.yaml", "1");
    assert_eq!(names(&next(&mut watcher).await.unwrap()), ["a.yaml", "b.yaml"]);
    fixture.write("team/b.yaml", "2");
    assert_eq!(next(&mut watcher).await.unwrap().files[1].bytes, b"2");
}

/// Kubernetes' way: names lead through `..data`, which is swapped in one step.
#[cfg(unix)]
#[tokio::test]
async fn a_swapped_config_map_is_seen_each_time() {
    use std::os::unix::fs::symlink;
    let fixture = Fixture::new(&[("..v0/a.yaml", "0")]);
    symlink("..v0", fixture.path("..data")).unwrap();
    symlink("..data/a.yaml", fixture.path("a.yaml")).unwrap();
    let swap = |round: u32| {
        fixture.write(&format!("..v{round}/a.yaml"), &round.to_string());
        symlink(format!("..v{round}"), fixture.path("..data_tmp")).unwrap();
        fs::rename(fixture.path("..data_tmp"), fixture.path("..data")).unwrap();
        fs::remove_dir_all(fixture.path(&format!("..v{}", round - 1))).unwrap();
    };
    let by_directory = fixture.watch(NOTIFIED);
    let by_file = watch(PolicyFiles::new([fixture.path("a.yaml")]), NOTIFIED);
    let by_poll = polled(fixture.files());
    let mut round = 0;
    for mut watcher in [by_directory, by_file, by_poll] {
        if round > 0 {
            assert_eq!(next_text(&mut watcher).await, round.to_string());
        }
        settle(&mut watcher).await;
        for _ in 0..3 {
            round += 1;
            swap(round);
            assert_eq!(next_text(&mut watcher).await, round.to_string());
        }
    }
}

/// L6: a watch dies with its directory; the one in its place is watched, too.
#[tokio::test]
async fn a_replaced_directory_is_watched_again() {
    let fixture = Fixture::new(&[("policy/a.yaml", "0")]);
    let mut watcher = watch(PolicyFiles::new([fixture.path("policy")]), NOTIFIED);
    settle(&mut watcher).await;
    for round in ["1", "2", "3"] {
        fs::rename(fixture.path("policy"), fixture.path(&format!("old-{round}"))).unwrap();
        fixture.write("policy/a.yaml", round);
        until_back(&mut watcher, round).await;
        let within = format!("{round} within");
        fixture.write("policy/a.yaml", &within);
        until_text(&mut watcher, &within).await;
    }
}

/// L5: what is missing is said once, and what is restored is said even where it is the same as before.
#[tokio::test]
async fn a_deleted_policy_is_missing_once_and_then_back() {
    for timing in [QUICK, NOTIFIED] {
        let fixture = Fixture::new(&[("policy/a.yaml", "1")]);
        let mut watcher = watch(PolicyFiles::new([fixture.path("policy")]), timing);
        settle(&mut watcher).await;

        fs::remove_file(fixture.path("policy/a.yaml")).unwrap();
        assert!(matches!(next(&mut watcher).await, Err(ReadError::Empty { .. })));
        settle(&mut watcher).await;
        fs::remove_dir(fixture.path("policy")).unwrap();
        assert!(matches!(next(&mut watcher).await, Err(ReadError::Missing { .. })));
        settle(&mut watcher).await;

        fixture.write("policy/a.yaml", "1");
        until_back(&mut watcher, "1").await;
    }
}

/// L3: a half that is left lying for as long as its writer holds the file is never taken.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_held_open_by_its_writer_is_not_taken_by_halves() {
    let fixture = Fixture::new(&[("a.yaml", "old")]);
    let mut watcher = fixture.watch(QUICK);
    settle(&mut watcher).await;

    let mut file = File::create(fixture.path("a.yaml")).unwrap();
    file.write_all(b"first half, ").unwrap();
    settle(&mut watcher).await;
    file.write_all(b"second half").unwrap();
    settle(&mut watcher).await;
    drop(file);

    assert_eq!(next_text(&mut watcher).await, "first half, second half");
}

/// L3.
#[tokio::test]
async fn a_writer_that_never_closes_holds_a_change_back_for_a_limited_time() {
    let fixture = Fixture::new(&[("a.yaml", "old")]);
    let mut watcher = fixture.watch(WatchTiming {
        open_writer: Duration::from_millis(50),
        ..QUICK
    });
    settle(&mut watcher).await;
    let mut file = File::create(fixture.path("a.yaml")).unwrap();
    file.write_all(b"new").unwrap();
    assert_eq!(next_text(&mut watcher).await, "new");
    drop(file);
}

#[tokio::test]
async fn a_hundred_writes_end_with_the_last() {
    let fixture = Fixture::new(&[("a.yaml", "0")]);
    let mut watcher = fixture.watch(QUICK);
    settle(&mut watcher).await;
    let path = fixture.path("a.yaml");
    let writer = tokio::task::spawn_blocking(move || {
        for round in 1..=100 {
            fs::write(&path, round.to_string()).unwrap();
        }
    });
    let mut changes = 0;
    while next_text(&mut watcher).await != "100" {
        changes += 1;
    }
    assert!(changes < 100, "{changes}");
    writer.await.unwrap();
    settle(&mut watcher).await;
}

/// L24: two files that belong together are taken together, where they are written within the time between two looks.
#[tokio::test]
async fn looks_that_differ_are_not_taken() {
    let fixture = Fixture::new(&[("a.yaml", "0"), ("b.yaml", "0")]);
    let mut watcher = fixture.watch(WatchTiming {
        settle: Duration::from_millis(300),
        ..QUICK
    });
    fixture.write("a.yaml", "1");
    let rest = async {
        // The first look is over, the second is yet to come.
        tokio::time::sleep(Duration::from_millis(60)).await;
        fixture.write("b.yaml", "1");
    };
    let (set, ()) = tokio::join!(next(&mut watcher), rest);
    let set = set.unwrap();
    assert!(set.files.iter().all(|file| file.bytes == b"1"), "{set:?}");
}

#[tokio::test]
async fn a_cancelled_wait_loses_no_change() {
    let fixture = Fixture::new(&[("a.yaml", "0")]);
    let mut watcher = fixture.watch(NOTIFIED);
    settle(&mut watcher).await;
    for round in ["1", "2", "3", "4"] {
        fixture.rename_over("a.yaml", round);
        let text = loop {
            // Cancelled wherever it may be: waiting, looking, or between two looks.
            if let Ok(change) = timeout(Duration::from_millis(3), watcher.next_change()).await {
                break change.unwrap().files[0].bytes.clone();
            }
            tokio::task::yield_now().await;
            if let Ok(change) = timeout(SOON, watcher.next_change()).await {
                break change.unwrap().files[0].bytes.clone();
            }
        };
        assert_eq!(text, round.as_bytes());
    }
}

/// L13: where the system has no more watches, polling finds the same changes.
#[tokio::test]
async fn without_watches_it_polls() {
    let fixture = Fixture::new(&[("a.yaml", "0")]);
    let mut watcher = polled(fixture.files());
    assert_eq!(watcher.mode(), WatchMode::Polled);
    fixture.write("a.yaml", "1");
    assert_eq!(next_text(&mut watcher).await, "1");
    assert_eq!(fixture.watch(QUICK).mode(), WatchMode::Notified);
}

/// The default settings keep the promise of a second, even without notifications.
#[test]
fn the_defaults_put_a_change_in_force_within_a_second() {
    let timing = WatchTiming::default();
    assert!(timing.poll + 3 * timing.settle < Duration::from_secs(1));
}
