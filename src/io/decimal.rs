//! Coordinates printed as text: the same rules for every format that has text in it.

use crate::cloud::Cloud;

use super::coordinates::narrowed;

/// The lines of `bytes` that are not blank, trimmed, each with its number counted from `first`.
pub(super) fn lines(bytes: &[u8], first: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let trimmed = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    (first..).zip(trimmed).filter(|(_, line)| !line.is_empty())
}

/// The words of `line`: what stands between runs of white space.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The number that `word` prints.
///
/// Besides what Rust reads, the ways in which C libraries print values that are no numbers: `-nan(ind)`,
/// `1.#QNAN`, `-1.#INF`.
pub(super) fn number(word: &[u8]) -> Option<f64> {
    let word = std::str::from_utf8(word).ok()?;
    word.parse().ok().or_else(|| not_a_number(word))
}

fn not_a_number(word: &str) -> Option<f64> {
    let word = word.trim_start_matches(['+', '-']).to_ascii_lowercase();
    (word.starts_with("nan(") || word.starts_with("1.#")).then_some(f64::NAN)
}

/// Collects printed points and decides whether f32 can stand for them.
pub(super) struct PrintedPoints {
    points: Vec<[f64; 3]>,
    needs_f64: bool,
}

impl PrintedPoints {
    /// `declared_f64`: the file says that its coordinates are f64, whatever their digits.
    pub(super) fn new(capacity: usize, declared_f64: bool) -> Self {
        Self { points: Vec::with_capacity(capacity), needs_f64: declared_f64 }
    }

    /// Adds a point, or returns the word that is no number.
    pub(super) fn push<'a>(&mut self, words: [&'a [u8]; 3]) -> Result<(), &'a [u8]> {
        let mut point = [0.0; 3];
        for (x, word) in point.iter_mut().zip(words) {
            *x = number(word).ok_or(word)?;
            self.needs_f64 = self.needs_f64 || exceeds_f32(word, *x);
        }
        self.points.push(point);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    pub(super) fn into_cloud(self) -> Cloud {
        if self.needs_f64 { Cloud::from_f64(&self.points) } else { Cloud::from_f32(narrowed(&self.points)) }
    }
}

/// Whether `word` prints `x` more finely than f32 can hold it: the f32 nearest to it, printed with as many
/// digits, would print something else.
fn exceeds_f32(word: &[u8], x: f64) -> bool {
    // An f32 holds every decimal of six digits.
    const ALWAYS_HELD: usize = 6;
    if word.len() <= ALWAYS_HELD || !x.is_finite() {
        return false;
    }
    // Half a digit, and a little for ties: 504198.875 prints as 504198.88.
    (x - f64::from(x as f32)).abs() > 0.5001 * last_digit(word)
}

/// The unit of the last digit of the number in `word`: 0.001 for "1.234", 10 for "1.2e2".
fn last_digit(word: &[u8]) -> f64 {
    let mantissa_end = word.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(word.len());
    let (mantissa, exponent) = word.split_at(mantissa_end);
    let decimals = mantissa.iter().position(|byte| *byte == b'.').map_or(0, |dot| mantissa.len() - dot - 1);
    let exponent = exponent.get(1..).and_then(number).unwrap_or(0.0);
    10_f64.powf(exponent - decimals as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digit_follows_point_and_exponent() {
        for (word, unit) in [("1.234", 1e-3), ("1234", 1.0), ("1.2e2", 10.0), ("-5.25E-3", 1e-5), ("7.", 1.0)]
        {
            assert!((last_digit(word.as_bytes()) / unit - 1.0).abs() < 1e-12, "{word}");
        }
    }

    #[test]
    fn digits_beyond_f32_are_noticed() {
        let exceeds = |word: &str| exceeds_f32(word.as_bytes(), word.parse().unwrap());
        assert!(!exceeds("0.1"));
        assert!(!exceeds("500000.094"), "the f32 500000.09375 in nine digits");
        assert!(!exceeds("0.10000000149011612"), "an f32 in all its digits");
        assert!(exceeds("500000.123"));
        assert!(exceeds("5.00000123e5"));
        assert!(exceeds("0.123456789012"));
        assert!(!exceeds("infinity"));
    }

    #[test]
    fn numbers_as_c_libraries_print_them() {
        for word in ["nan", "-nan", "NaN", "-nan(ind)", "1.#QNAN", "-1.#IND"] {
            assert!(number(word.as_bytes()).is_some_and(f64::is_nan), "{word}");
        }
        assert_eq!(number(b"+.5"), Some(0.5));
        assert_eq!(number(b"5."), Some(5.0));
        assert_eq!(number(b"-inf"), Some(f64::NEG_INFINITY));
        for word in ["", "x", "1,5", "0x10", "nano", "--1"] {
            assert_eq!(number(word.as_bytes()), None, "{word}");
        }
    }
}
