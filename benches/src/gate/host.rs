//! What counts of instructions depend on, beside the code.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// Where counts were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The compiler, with its commit.
    pub rustc: String,
    /// Copies and comparisons of bytes are the C library's.
    pub libc: String,
    /// Which instructions a program under it may use.
    pub valgrind: String,
    /// The processor's features that a program sees under valgrind; cryptography and searches choose their code by them.
    pub features: Vec<String>,
}

impl Host {
    /// This one. `sees` is a command that prints what this program [sees](features) of the processor, under valgrind.
    ///
    /// # Errors
    ///
    /// What is not installed.
    pub fn here(mut sees: Command) -> Result<Self, String> {
        let mut rustc = Command::new("rustc");
        let (mut libc, mut valgrind) = (Command::new("getconf"), Command::new("valgrind"));
        Ok(Self {
            rustc: first_line(rustc.arg("--version"))?,
            // Where there is another C library, there is another answer, or none: it only has to differ.
            libc: first_line(libc.arg("GNU_LIBC_VERSION")).unwrap_or_default(),
            valgrind: first_line(valgrind.arg("--version"))?,
            features: first_line(&mut sees)?.split(' ').map(str::to_owned).collect(),
        })
    }

    /// In what another one differs.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let fields = [
            ("rustc", &self.rustc, &other.rustc),
            ("libc", &self.libc, &other.libc),
            ("valgrind", &self.valgrind, &other.valgrind),
            ("processor", &self.features.join(" "), &other.features.join(" ")),
        ];
        let different = fields.into_iter().filter(|(_, here, there)| here != there);
        different
            .map(|(name, here, there)| format!("{name}: `{here}`, there `{there}`"))
            .collect()
    }
}

fn first_line(command: &mut Command) -> Result<String, String> {
    let done = command
        .output()
        .map_err(|error| format!("{command:?} cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&done.stdout);
    let line = text.lines().next().unwrap_or_default().trim();
    match done.status.success() && !line.is_empty() {
        true => Ok(line.to_owned()),
        false => Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&done.stderr))),
    }
}

/// The features that code is chosen by, of the processor as this process sees it; first its architecture.
#[must_use]
pub fn features() -> Vec<&'static str> {
    let mut features = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! seen {
            ($($name:tt),*) => {
                [$(($name, std::arch::is_x86_feature_detected!($name))),*]
            };
        }
        let seen = seen!(
            "sse4.2",
            "avx",
            "avx2",
            "avx512f",
            "aes",
            "vaes",
            "pclmulqdq",
            "sha",
            "bmi1",
            "bmi2",
            "adx",
            "movbe"
        );
        features.extend(seen.into_iter().filter(|(_, is_seen)| *is_seen).map(|(name, _)| name));
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_sees_its_architecture() {
        assert_eq!(features().first(), Some(&std::env::consts::ARCH));
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let error = first_line(&mut Command::new("no-such-command")).unwrap_err();
        assert!(error.contains("no-such-command"), "{error}");
    }

    #[test]
    fn differences_are_named() {
        let host = |rustc: &str, feature: &str| Host {
            rustc: rustc.to_owned(),
            libc: "glibc 2.36".to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
            features: vec!["x86_64".to_owned(), feature.to_owned()],
        };
        assert!(host("1.90", "avx2").differences(&host("1.90", "avx2")).is_empty());
        let differences = host("1.90", "avx2").differences(&host("1.91", "avx"));
        assert_eq!(
            differences,
            [
                "rustc: `1.90`, there `1.91`",
                "processor: `x86_64 avx2`, there `x86_64 avx`"
            ]
        );
    }
}
