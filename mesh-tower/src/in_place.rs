//! Boxes whose value is made where it stays.

use std::future::Future;
use std::pin::Pin;

use hyper::rt::Executor;

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

/// Spawns hyper's futures of HTTP/2, boxed: those of a stream have the room of a whole connection, and are moved half a dozen times
/// before they are polled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boxing;

impl<F> Executor<F> for Boxing
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(pinned(|| future));
    }
}
