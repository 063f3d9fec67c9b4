//! `openssl s_client` as a hostile client of a STRICT server, and `openssl s_server` as the server that a client must
//! refuse or may trust.
//!
//! `MESH_OPENSSL` names the program, where it is not in the path.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod client;
mod server;

use std::path::PathBuf;

use mesh_tests::forge::{Forge, Forged};
use mesh_tests::process::program;

const DOMAIN: &str = "cluster.local";
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";

/// Where openssl is; `None`, and a word about it, where there is none.
fn binary() -> Option<PathBuf> {
    program("MESH_OPENSSL", "openssl")
}

/// The files of certificates that openssl is given.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Arguments that show a certificate.
    fn show(&self, name: &str, forged: &Forged) -> Vec<String> {
        let certificate = self.write(&format!("{name}.crt"), &forged.certificate);
        let key = self.write(&format!("{name}.key"), &forged.key);
        ["-cert".to_owned(), certificate, "-key".to_owned(), key].into()
    }
}

/// A good certificate.
fn good(forge: &Forge, id: &str) -> Forged {
    forge.sign(&Forge::leaf(&[id]))
}

/// The binary, or the end of the test.
#[macro_export]
macro_rules! openssl {
    () => {
        match $crate::binary() {
            Some(binary) => binary,
            None => return,
        }
    };
}
