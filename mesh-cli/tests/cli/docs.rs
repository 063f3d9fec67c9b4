//! What `docs/cli.md` shows is what the command prints.

use std::path::Path;
use std::process::Command;

use crate::mesh::Folder;

/// The blocks of a language, without their fences.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let bodies = text.split(&fence).skip(1);
    bodies.map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// What a shell prints for a line, remarks included.
fn shell(line: &str, directory: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_mesh")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("{line} 2>&1")])
        .current_dir(directory)
        .env("PATH", path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Runs the examples of a page, in its order, and compares what they print.
fn run_examples(text: &str, folder: &Folder) {
    for example in blocks(text, "console") {
        let (line, shown) = example.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
        assert_eq!(shell(line, folder.path()), shown, "$ {line}");
    }
}

#[test]
fn every_example_of_the_reference_prints_what_it_shows() {
    let text = page("cli.md");
    let files = blocks(&text, "yaml");
    let folder = Folder::new(&[("shop.yaml", files[0])]);
    folder.write("../shop.test.yaml", files[1].as_bytes());
    assert!(blocks(&text, "console").len() > 17);

    run_examples(&text, &folder);
}

#[test]
fn every_example_of_the_guide_to_tests_prints_what_it_shows() {
    let text = page("testing.md");
    let files = blocks(&text, "yaml");
    let folder = Folder::new(&[("shop.yaml", files[0])]);
    folder.write("../policy-tests/shop.test.yaml", files[1].as_bytes());
    assert!(blocks(&text, "console").len() > 2);

    run_examples(&text, &folder);
}

#[test]
fn every_file_of_the_guide_to_tests_passes() {
    let text = page("testing.md");
    let files = blocks(&text, "yaml");
    let folder = Folder::new(&[("shop.yaml", files[0])]);
    assert!(files.len() > 3);
    for (index, file) in files.iter().enumerate().skip(1) {
        folder.write(&format!("../policy-tests/{index}.test.yaml"), file.as_bytes());
    }

    let run = folder.mesh(&["test"]);

    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
}
