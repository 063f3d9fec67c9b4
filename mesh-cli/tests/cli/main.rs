//! Runs the built `mesh` as a user or a script does.

#[cfg(test)]
mod cert;
#[cfg(test)]
mod check;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod convert;
#[cfg(test)]
mod diff;
#[cfg(test)]
#[cfg(unix)]
mod docs;
#[cfg(test)]
mod inbound;
#[cfg(test)]
mod mesh;
#[cfg(test)]
mod outbound;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod seeds;
mod seen;
#[cfg(test)]
mod test;
#[cfg(test)]
mod tokens;
mod usage;
