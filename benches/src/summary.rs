//! Medians, percentiles and the text of numbers.

/// The middle of some values; of an even number of them the upper middle. `NaN` for none.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The value below which `percent` of the values lie, by nearest rank. `NaN` for no values.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a rank among samples is small")]
    let rank = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(rank.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The arithmetic mean. `NaN` for none.
#[expect(clippy::cast_precision_loss, reason = "a number of samples is small")]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The largest value. `NaN` for none.
pub fn worst(values: &[f64]) -> f64 {
    percentile(values, 100.0)
}

/// Events a second.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^53")]
pub fn rate(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// A whole number with thousands separators: `1,234,567`.
pub fn grouped(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!((median(&values), percentile(&values, 99.0), worst(&values)), (3.0, 5.0, 5.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(f64::NAN), "-");
    }
}
