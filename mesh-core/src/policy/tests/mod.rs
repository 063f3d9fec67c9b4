//! Files in, policy or exact findings out.

use super::*;

mod seeds;
