//! mesh-tls
