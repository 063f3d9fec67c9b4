//! Boxes whose value is made where it stays.

use std::pin::Pin;

/// Boxes what `make` returns. There is a box first: `Box::new` is given a value that is somewhere already, and copies all of it, of a future
/// also the most part that nothing has been written to yet.
#[inline]
pub(crate) fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    Box::write(Box::new_uninit(), make())
}

/// The same for a future.
#[inline]
pub(crate) fn pinned<T>(make: impl FnOnce() -> T) -> Pin<Box<T>> {
    Box::into_pin(boxed(make))
}
