//! A logarithmic axis.

/// Maps values to places, each factor of ten as far as the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogAxis {
    /// Powers of ten at both ends.
    first: i32,
    last: i32,
    /// Places of both ends.
    from: f64,
    to: f64,
}

impl LogAxis {
    /// From the power of ten below the least of the values to the one above the greatest; `None` without a value
    /// above zero.
    pub(crate) fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let powers = values.filter(|value| value.is_finite() && *value > 0.0).map(f64::log10);
        let ends = powers.fold(None, |ends: Option<(f64, f64)>, power| {
            let (least, most) = ends.unwrap_or((power, power));
            Some((least.min(power), most.max(power)))
        });
        let (least, most) = ends?;
        let first = least.floor() as i32;
        Some(Self { first, last: (most.ceil() as i32).max(first + 1), from, to })
    }

    /// Where a value lies. What is below the axis lies at its beginning.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from + share.max(0.0) * (self.to - self.from)
    }

    /// The powers of ten.
    pub(crate) fn decades(&self) -> impl Iterator<Item = f64> + use<> {
        (self.first..=self.last).map(|power| 10f64.powi(power))
    }

    /// Twice and five times each power of ten, for thinner lines.
    pub(crate) fn between(&self) -> impl Iterator<Item = f64> + use<> {
        (self.first..self.last).flat_map(|power| [2.0, 5.0].map(|factor| factor * 10f64.powi(power)))
    }
}

/// A power of ten in few letters: `100`, `10k`, `1M`.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.0}M", value / 1e6),
        value if value >= 1e3 => format!("{:.0}k", value / 1e3),
        value => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_evenly_spaced() {
        let axis = LogAxis::over([20.0, f64::NAN, 5000.0].into_iter(), 100.0, 400.0).unwrap();
        let places: Vec<_> = axis.decades().map(|value| axis.place(value).round()).collect();
        assert_eq!(places, [100.0, 200.0, 300.0, 400.0]);
        assert!((axis.place(1.0) - 100.0).abs() < 1e-9);
        assert_eq!(axis.between().count(), 6);
    }

    #[test]
    fn one_value_has_an_axis_and_none_has_not() {
        let axis = LogAxis::over([1000.0].into_iter(), 0.0, 1.0).unwrap();
        assert_eq!(axis.decades().collect::<Vec<_>>(), [1000.0, 10_000.0]);
        assert!(LogAxis::over([0.0, f64::NAN].into_iter(), 0.0, 1.0).is_none());
    }

    #[test]
    fn short_numbers() {
        assert_eq!([0.1, 100.0, 10_000.0, 1_000_000.0].map(short), ["0.1", "100", "10k", "1M"]);
    }
}
