//! How often each kind of scan comes.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::simulate::Kind;

/// Weights of the kinds of scans; their sum is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix(Vec<(Kind, f64)>);

impl Default for Mix {
    /// Rooms seen by depth cameras and streets seen by LiDARs, mostly; single objects and LiDARs indoors are rarer
    /// in use, and simpler.
    fn default() -> Self {
        use Kind::{Fragment, Frame, Lidar, LidarIndoor, Object};
        Self(vec![(Fragment, 0.46), (Frame, 0.12), (Object, 0.07), (Lidar, 0.29), (LidarIndoor, 0.06)])
    }
}

impl Mix {
    /// The kind at `share`, 0..1, of the way through the list.
    pub fn at(&self, share: f64) -> Kind {
        let mut left = share * self.0.iter().map(|(_, weight)| weight).sum::<f64>();
        for &(kind, weight) in &self.0 {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        // Rounding may leave a rest.
        self.0[self.0.len() - 1].0
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(kind, weight)| format!("{kind}={weight}")).collect();
        formatter.write_str(&parts.join(","))
    }
}

impl FromStr for Mix {
    type Err = Error;

    /// Kinds and weights, `frame=2,lidar=1`; the weights of kinds that are left out are 0, and their sum is free.
    fn from_str(text: &str) -> Result<Self> {
        let mut weights = Vec::new();
        for part in text.split(',') {
            let entry = part.split_once('=').and_then(|(kind, weight)| {
                Some((kind.trim().parse().ok()?, weight.trim().parse::<f64>().ok()?))
            });
            match entry {
                Some((kind, weight)) if weight >= 0.0 && weight.is_finite() => weights.push((kind, weight)),
                _ => {
                    let names = Kind::ALL.map(Kind::name).join(", ");
                    let reason =
                        format!("{part:?} is no share of a kind; give KIND=WEIGHT with a kind of {names}");
                    return Err(Error::Config(reason));
                }
            }
        }
        if weights.iter().all(|(_, weight)| *weight == 0.0) {
            return Err(Error::Config("the weights of all kinds are 0; raise one".to_owned()));
        }
        Ok(Self(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_way_picks_a_kind() {
        let mix: Mix = "frame=3,lidar=1".parse().unwrap();
        assert_eq!(mix.to_string(), "frame=3,lidar=1");
        let kinds = [0.0, 0.74, 0.76, 1.0].map(|share| mix.at(share).name());
        assert_eq!(kinds, ["frame", "frame", "lidar", "lidar"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["", "frame", "frame=x", "frame=-1", "frame=nan", "teapot=1", "frame=0"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_default_is_complete() {
        let mix = Mix::default();
        assert!(Kind::USUAL.iter().all(|kind| mix.0.iter().any(|(k, weight)| k == kind && *weight > 0.0)));
        assert_eq!(mix.to_string().parse::<Mix>().unwrap(), mix);
    }
}
