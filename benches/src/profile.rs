//! What a file of callgrind tells of the allocator.
//!
//! Allocations are counted by the calls to the allocator's functions: a counting allocator around another one would cost
//! instructions itself. What the allocator's functions cost themselves is told apart, since it depends on how the pages
//! happen to lie as much as on who asks: the same binary's same requests differ by hundreds of instructions there.

use std::collections::HashMap;

/// What asks for memory, of mimalloc and of the C library. One of them that calls another is one request.
const ALLOCATE: [&str; 12] = [
    "mi_malloc",
    "mi_malloc_aligned",
    "mi_zalloc",
    "mi_zalloc_aligned",
    "mi_realloc",
    "mi_realloc_aligned",
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
];

/// What all functions of mimalloc's are called like.
const OWN: [&str; 2] = ["mi_", "_mi_"];

/// What a run has had of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// How often memory was asked for.
    pub allocations: u64,
    /// The allocator's own instructions.
    pub in_allocator: u64,
}

impl Profile {
    /// Reads a file of callgrind.
    #[must_use]
    pub fn read(file: &str) -> Self {
        let mut reader = Reader::default();
        file.lines().for_each(|line| reader.line(line));
        reader.profile
    }
}

/// What is known of a function by its name.
#[derive(Clone, Copy, Default)]
struct Function {
    allocates: bool,
    is_allocators: bool,
}

/// Where the reader is: callgrind names a function once and then refers to it by number.
#[derive(Default)]
struct Reader<'a> {
    functions: HashMap<&'a str, Function>,
    caller: Function,
    callee: Function,
    /// The next line of costs is that of a call, which the callee has again.
    is_call: bool,
    profile: Profile,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        if let Some(function) = line.strip_prefix("fn=") {
            self.caller = self.known(function);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            self.callee = self.known(function);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            self.call(calls);
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            self.cost(line);
        }
    }

    fn call(&mut self, calls: &str) {
        self.is_call = true;
        if self.callee.allocates && !self.caller.allocates {
            let times = calls.split(' ').next().and_then(|times| times.parse::<u64>().ok());
            self.profile.allocations += times.unwrap_or_default();
        }
    }

    /// A place and what was spent there.
    fn cost(&mut self, line: &str) {
        if !std::mem::take(&mut self.is_call) && self.caller.is_allocators {
            let spent = line.split(' ').nth(1).and_then(|spent| spent.parse::<u64>().ok());
            self.profile.in_allocator += spent.unwrap_or_default();
        }
    }

    /// The function of a number such as `(12) malloc`, whose name is told where it first stands.
    fn known(&mut self, function: &'a str) -> Function {
        let Some((number, name)) = function.split_once(' ') else {
            return self.functions.get(function).copied().unwrap_or_default();
        };
        // A function that was inlined or called recursively has a mark behind its name.
        let name = name.split('\'').next().unwrap_or(name);
        let known = Function {
            allocates: ALLOCATE.contains(&name),
            is_allocators: OWN.iter().any(|own| name.starts_with(own)),
        };
        self.functions.insert(number, known);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_is_told_apart_and_its_callers_are_counted() {
        let file = "\
fn=(1) main
1 10
cfn=(2) mi_malloc_aligned
calls=3 0
1 60
cfn=(3) work
calls=1 0
1 90

fn=(3)
cfn=(2)
calls=2 0
1 40
cfn=(5) mi_free
calls=5 0
1 50

fn=(2)
1 12
cfn=(4) malloc
calls=5 0
1 20

fn=(5)
fi=(7) inlined.h
+3 7
fe=(1)
* 1
";
        let found = Profile::read(file);
        assert_eq!(
            (found.allocations, found.in_allocator),
            (5, 20),
            "12 of the one, 7 and 1 of the other"
        );
    }
}
