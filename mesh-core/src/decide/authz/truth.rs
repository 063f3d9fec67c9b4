//! Three-valued truth.

/// Whether a condition holds (Kleene's strong logic): what is not known is neither true nor false.
///
/// The order is that of the logic: *and* is the minimum, *or* the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "the logic has three values")]
pub enum Truth {
    /// It does not hold.
    False,
    /// What it looks at is not known.
    Unknown,
    /// It holds.
    True,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl Truth {
    /// *And*: asks the second only where the first is not false.
    #[must_use]
    #[inline]
    pub fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::False => Self::False,
            first => first.min(other()),
        }
    }

    /// *And* over several; an empty list is true.
    #[inline]
    pub fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut least = Self::True;
        for truth in truths {
            if truth == Self::False {
                return truth;
            }
            least = least.min(truth);
        }
        least
    }

    /// *Or* over several; an empty list is true, as in a rule that sets no condition.
    #[inline]
    pub fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut best = None;
        for truth in truths {
            if truth == Self::True {
                return truth;
            }
            best = best.max(Some(truth));
        }
        best.unwrap_or(Self::True)
    }
}
