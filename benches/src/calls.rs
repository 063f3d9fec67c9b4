//! Calls that callgrind has seen, read from its file.
//!
//! Allocations are counted by the calls to the allocator's functions: a counting allocator around another one would cost
//! instructions itself.

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

/// How often memory was asked for in a run whose callgrind file this is.
#[must_use]
pub fn allocations(file: &str) -> u64 {
    let mut seen = Seen::default();
    file.lines().for_each(|line| seen.line(line));
    seen.allocations
}

/// Where the reader is: callgrind names a function once and then refers to it by number.
#[derive(Default)]
struct Seen<'a> {
    allocates: HashMap<&'a str, bool>,
    caller: &'a str,
    callee: &'a str,
    allocations: u64,
}

impl<'a> Seen<'a> {
    fn line(&mut self, line: &'a str) {
        if let Some(function) = line.strip_prefix("fn=") {
            self.caller = self.known(function);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            self.callee = self.known(function);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let is_allocator = |function| self.allocates.get(function).copied().unwrap_or_default();
            if is_allocator(self.callee) && !is_allocator(self.caller) {
                let times = calls.split(' ').next().and_then(|times| times.parse::<u64>().ok());
                self.allocations += times.unwrap_or_default();
            }
        }
    }

    /// The number of a function such as `(12) malloc`, whose name is told where it first stands.
    fn known(&mut self, function: &'a str) -> &'a str {
        let Some((number, name)) = function.split_once(' ') else {
            return function;
        };
        // A function that was inlined or called recursively has a mark behind its name.
        let name = name.split('\'').next().unwrap_or(name);
        self.allocates.insert(number, ALLOCATE.contains(&name));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_to_the_allocator_are_counted_but_for_its_own() {
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
cfn=(4) malloc
calls=5 0
1 20
";
        assert_eq!(allocations(file), 5);
    }
}
