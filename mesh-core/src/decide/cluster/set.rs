//! The immutable set that picks read.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{ClusterSettings, Endpoint};
use crate::decide::balance::{Picker, Position, picker};
use crate::decide::health::must_panic;
use crate::random::Rng;

/// Further picks that avoid a tried endpoint (Istio's `host_selection_retry_max_attempts`).
const REPICKS: usize = 5;

/// Why no endpoint can take the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// There are none.
    #[error("the service has no endpoints")]
    NoEndpoints,
    /// All are ejected, and the policy has no panic threshold.
    #[error("all endpoints of the service are ejected")]
    NoneHealthy,
}

/// Whether health is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Ejected endpoints get nothing.
    Normal,
    /// Too few are healthy: all are used.
    Panic,
}

type Members<T> = Arc<[Arc<Endpoint<T>>]>;

/// The endpoints of a cluster at a time.
#[derive(Debug)]
pub(super) struct EndpointSet<T> {
    all: Members<T>,
    /// Those that can be picked: the same list where these are all.
    usable: Members<T>,
    picker: Option<Box<dyn Picker>>,
    healthy: usize,
    mode: Mode,
}

impl<T> EndpointSet<T> {
    pub(super) fn empty() -> Self {
        let all: Members<T> = Arc::default();
        Self {
            usable: Arc::clone(&all),
            all,
            picker: None,
            healthy: 0,
            mode: Mode::Normal,
        }
    }

    /// The set of these endpoints, by their health at this moment.
    pub(super) fn new(all: Vec<Arc<Endpoint<T>>>, settings: &ClusterSettings, position: &Arc<Position>) -> Self {
        let all: Members<T> = all.into();
        let is_healthy = |endpoint: &&Arc<Endpoint<T>>| !endpoint.health().is_ejected();
        let healthy = all.iter().filter(is_healthy).count();
        let min_percent = settings.outliers.as_ref().map_or(0, |rules| rules.min_healthy_percent);
        let mode = if must_panic(healthy, all.len(), min_percent) {
            Mode::Panic
        } else {
            Mode::Normal
        };
        let usable = match mode == Mode::Panic || healthy == all.len() {
            true => Arc::clone(&all),
            false => all.iter().filter(is_healthy).cloned().collect(),
        };
        let weights: Vec<u32> = usable.iter().map(|endpoint| endpoint.weight()).collect();
        let picker = Some(picker(settings.algorithm, &weights, position));
        Self {
            all,
            usable,
            picker,
            healthy,
            mode,
        }
    }

    pub(super) fn all(&self) -> &[Arc<Endpoint<T>>] {
        &self.all
    }

    pub(super) const fn healthy(&self) -> usize {
        self.healthy
    }

    pub(super) fn ejected(&self) -> usize {
        self.all.len().saturating_sub(self.healthy)
    }

    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn contains(&self, endpoint: &Endpoint<T>) -> bool {
        self.all
            .iter()
            .any(|member| std::ptr::eq(Arc::as_ptr(member), endpoint))
    }

    pub(super) fn pick(&self, tried: &[SocketAddr], rng: &mut dyn Rng) -> Result<Arc<Endpoint<T>>, PickError> {
        match tried.is_empty() {
            true => self.pick_any(rng).cloned(),
            false => self.pick_untried(tried, rng),
        }
    }

    #[inline(never)]
    fn pick_untried(&self, tried: &[SocketAddr], rng: &mut dyn Rng) -> Result<Arc<Endpoint<T>>, PickError> {
        let mut picked = self.pick_any(rng)?;
        for _ in 0..REPICKS {
            if !tried.contains(&picked.address()) {
                return Ok(Arc::clone(picked));
            }
            picked = self.pick_any(rng)?;
        }
        let untried = self.usable.iter().find(|endpoint| !tried.contains(&endpoint.address()));
        Ok(Arc::clone(untried.unwrap_or(picked)))
    }

    fn pick_any(&self, rng: &mut dyn Rng) -> Result<&Arc<Endpoint<T>>, PickError> {
        let active = |index: usize| self.usable.get(index).map_or(0, |endpoint| endpoint.active());
        self.picker
            .as_ref()
            .and_then(|picker| picker.pick(&active, rng))
            .and_then(|index| self.usable.get(index))
            .ok_or_else(|| match self.all.is_empty() {
                true => PickError::NoEndpoints,
                false => PickError::NoneHealthy,
            })
    }
}
