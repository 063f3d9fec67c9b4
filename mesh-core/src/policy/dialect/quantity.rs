//! Weights as quantities of Kubernetes, which the first version of splits and overrides of profiles have.

use crate::policy::diagnostic::quoted;
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// The greatest common divisor, by Euclid's algorithm.
pub(super) const fn common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Suffixes of Kubernetes' quantities, in thousandths.
const SUFFIXES: &[(&str, u64)] = &[
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("Ki", 1_024_000),
    ("Mi", 1_048_576_000),
    ("Gi", 1_073_741_824_000),
];

/// Reads a quantity of Kubernetes, such as `1`, `0.5` or `500m`, in thousandths.
pub(super) fn quantity(cx: &Reader<'_>, node: &Node) -> Option<u64> {
    let text = cx.any_text(node)?;
    match thousandths(&text) {
        Some(weight) => Some(weight),
        None => cx.invalid(
            node,
            format!("expected a quantity such as `1` or `500m`, found {}", quoted(&text)),
        ),
    }
}

pub(super) fn thousandths(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let unit = match suffix {
        "" => 1_000,
        _ => SUFFIXES.iter().find(|(name, _)| *name == suffix)?.1,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 6 || fraction.contains('.') {
        return None;
    }
    let digits: u64 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = digits.checked_mul(unit)?;
    // Kubernetes rounds up what is finer than its unit.
    Some(scaled.div_ceil(scale)).filter(|weight| *weight <= u64::from(u32::MAX) * 1_000)
}
