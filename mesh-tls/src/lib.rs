//! Who the peer is: SPIFFE identity on rustls.
//!
//! Every workload of a mesh has an identity, `spiffe://<trust domain>/ns/<namespace>/sa/<account>`,
//! in an X.509 certificate: its SVID. This crate proves identities in TLS handshakes, on both
//! sides, and keeps the own one fresh while connections stay open.
//!
//! | module | answers |
//! |---|---|
//! | [`svid`] | what do I present, whom do I trust? |
//! | [`source`] | which identity is in force now, and what follows its files? |
//! | [`config`] | how do I talk TLS with it? |
//! | [`handshake`] | accept, connect, and whose fault was it? |
//! | [`peer`] | who is on the other side, for certain? |
//! | [`verify`], [`leaf`] | when is a certificate somebody's proof? |
//! | [`inspect`] | what does this certificate say, and would a peer accept it? |
//! | [`sniff`] | is this TLS or plain text? |
//! | [`web`] | TLS with the world outside of the mesh |
//! | [`clock`] | what time is it? |
//! | `authority` (feature) | a certificate authority for development |
//!
//! It knows no policies and no HTTP. It always uses the aws-lc-rs provider, passed explicitly, and
//! neither installs nor reads a process-wide default.

#[cfg(any(test, feature = "authority"))]
pub mod authority;
pub mod clock;
pub mod config;
mod describe;
pub mod handshake;
pub mod inspect;
pub mod leaf;
pub mod peer;
mod provider;
pub mod sniff;
pub mod source;
pub mod svid;
pub mod verify;
pub mod web;

#[cfg(test)]
mod testing;
