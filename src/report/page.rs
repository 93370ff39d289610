//! The page of one pair.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nalgebra::Matrix4;
use serde::Serialize;

use super::palette::{self, Colour};
use super::residuals::Histogram;
use super::scene::{Ball, Scene, ShownCloud};
use super::settings::settings;
use super::template::{escape, fill, json};
use super::{Answer, Subject, stills, why};
use crate::cloud::Point;
use crate::registration::Evidence;
use crate::transform::RigidTransform;

const TEMPLATE: &str = include_str!("page/pair.html");
const COMMON_STYLE: &str = include_str!("page/common.css");
const STYLE: &str = include_str!("page/pair.css");
const VIEWER: &str = include_str!("page/viewer.js");
const SCRIPT: &str = include_str!("page/pair.js");

/// One self-contained file.
pub fn html(subject: &Subject, scene: &Scene) -> String {
    let title = format!("{} onto {}", subject.source_name, subject.target_name);
    let still = format!("data:image/png;base64,{}", STANDARD.encode(stills::png(subject, scene)));
    let style = format!("{COMMON_STYLE}\n{STYLE}");
    let script = format!("{VIEWER}\n{SCRIPT}");
    let values = [
        ("TITLE", escape(&title)),
        ("STYLE", style),
        ("STILL", still),
        ("DATA", json(&Page::new(subject, scene))),
        ("SCRIPT", script),
    ];
    fill(TEMPLATE, &values.each_ref().map(|(name, value)| (*name, value.as_str())))
}

/// What the page's script gets.
#[derive(Serialize)]
struct Page<'a> {
    source: CloudData<'a>,
    target: CloudData<'a>,
    /// The object that `--json` writes.
    answer: Answer<'a>,
    why: String,
    /// The answer, and the likeliest of its rivals.
    evidence: Vec<EvidenceData>,
    rivals: usize,
    least_confidence: f64,
    residuals: ResidualData,
    matches: MatchData,
    views: [ViewData; 2],
    gap: Option<f64>,
    settings: Vec<(&'static str, String)>,
    colours: Colours,
}

impl<'a> Page<'a> {
    fn new(subject: &Subject<'a>, scene: &Scene) -> Self {
        let evidence = &subject.details.evidence;
        Self {
            source: CloudData::new(subject.source_name, &scene.source),
            target: CloudData::new(subject.target_name, &scene.target),
            answer: Answer::new(subject.registration, subject.read, subject.total),
            why: why::sentence(subject.registration, subject.details),
            evidence: evidence.iter().take(2).map(EvidenceData::new).collect(),
            rivals: evidence.len().saturating_sub(1),
            least_confidence: crate::engine::LEAST_CONFIDENCE,
            residuals: ResidualData {
                histogram: scene.residuals.histogram(),
                of_points: STANDARD.encode(scene.residuals.to_bytes()),
            },
            matches: MatchData::new(subject, scene),
            views: [
                ViewData::new(&scene.before, scene.before_ball),
                ViewData::new(&scene.after, scene.after_ball),
            ],
            gap: scene.gap,
            settings: settings(subject),
            colours: Colours::of_the_palette(),
        }
    }
}

/// A cloud's points as three 16-bit numbers each, little-endian, in base64: `low + step · number`.
#[derive(Serialize)]
struct CloudData<'a> {
    name: &'a str,
    total: usize,
    left_out: usize,
    shown: usize,
    low: Point,
    step: Point,
    points: String,
}

impl<'a> CloudData<'a> {
    fn new(name: &'a str, cloud: &ShownCloud) -> Self {
        let points = &cloud.points;
        let end = |pick: fn(f32, f32) -> f32| {
            let first = points.first().copied().unwrap_or_default();
            points.iter().fold(first, |end, p| [0, 1, 2].map(|k| pick(end[k], p[k])))
        };
        let (low, high) = (end(f32::min), end(f32::max));
        let step = [0, 1, 2].map(|k| (high[k] - low[k]) / f32::from(u16::MAX));
        let number =
            |p: &Point, k: usize| if step[k] > 0.0 { ((p[k] - low[k]) / step[k]).round() as u16 } else { 0 };
        let bytes: Vec<u8> =
            points.iter().flat_map(|p| [0, 1, 2].map(|k| number(p, k).to_le_bytes())).flatten().collect();
        Self {
            name,
            total: cloud.total,
            left_out: cloud.left_out,
            shown: points.len(),
            low,
            step,
            points: STANDARD.encode(bytes),
        }
    }
}

#[derive(Serialize)]
struct EvidenceData {
    source_overlap: f64,
    target_overlap: f64,
    source_hold: f64,
    target_hold: f64,
    source_in_front: f64,
    target_in_front: f64,
    inliers: usize,
    log_odds: f64,
}

impl EvidenceData {
    fn new(evidence: &Evidence) -> Self {
        Self {
            source_overlap: evidence.source_overlap,
            target_overlap: evidence.target_overlap,
            source_hold: evidence.source_hold,
            target_hold: evidence.target_hold,
            source_in_front: evidence.source_in_front,
            target_in_front: evidence.target_in_front,
            inliers: evidence.inliers,
            log_odds: evidence.log_odds,
        }
    }
}

#[derive(Serialize)]
struct ResidualData {
    histogram: Histogram,
    /// A byte for each shown point of the source, in base64; see [`super::residuals::Residuals::to_bytes`].
    of_points: String,
}

#[derive(Serialize)]
struct MatchData {
    /// Of all.
    total: usize,
    tolerance: f64,
    shown: usize,
    /// Of those shown, which come first.
    inliers: usize,
    /// Six 32-bit floats each, little-endian, in base64: the place in the source and that in the target.
    ends: String,
}

impl MatchData {
    fn new(subject: &Subject, scene: &Scene) -> Self {
        let ends = scene.matches.iter().flat_map(|m| m.source.into_iter().chain(m.target));
        Self {
            total: subject.details.matches.len(),
            tolerance: subject.details.tolerance,
            shown: scene.matches.len(),
            inliers: scene.matches.iter().filter(|m| m.inlier).count(),
            ends: STANDARD.encode(ends.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()),
        }
    }
}

/// Where the source is, and what to look at.
#[derive(Serialize)]
struct ViewData {
    /// `shown_from_source`, row by row.
    place: [[f64; 4]; 4],
    centre: Point,
    radius: f32,
}

impl ViewData {
    fn new(place: &RigidTransform, ball: Ball) -> Self {
        let matrix: Matrix4<f64> = place.to_matrix();
        let place = std::array::from_fn(|r| std::array::from_fn(|c| matrix[(r, c)]));
        Self { place, centre: ball.centre, radius: ball.radius }
    }
}

#[derive(Serialize)]
struct Colours {
    source: Colour,
    target: Colour,
    backdrop: Colour,
    alone: Colour,
    inlier: Colour,
    outlier: Colour,
    ramp: [Colour; 5],
}

impl Colours {
    fn of_the_palette() -> Self {
        Self {
            source: palette::SOURCE,
            target: palette::TARGET,
            backdrop: palette::BACKDROP,
            alone: palette::ALONE,
            inlier: palette::INLIER,
            outlier: palette::OUTLIER,
            ramp: palette::RAMP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PairReport;
    use crate::report::example::Example;
    use serde_json::Value;

    /// The data of a page.
    fn data(page: &str) -> Value {
        let (_, rest) = page.split_once("<script id=\"data\" type=\"application/json\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn the_page_is_whole_needs_no_network_and_is_the_same_every_time() {
        let example = Example::new();
        let page = PairReport::new(example.subject()).html();
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        for unwanted in ["http://", "https://", "{{", "src=\"/", "@import"] {
            assert!(!page.contains(unwanted), "{unwanted}");
        }
        assert_eq!(page, PairReport::new(example.subject()).html());
    }

    #[test]
    fn the_numbers_are_those_of_the_json_answer() {
        let example = Example::new();
        let Subject { registration, read, total, .. } = example.subject();
        let answer = serde_json::to_string(&Answer::new(registration, read, total)).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(data(&PairReport::new(example.subject()).html())["answer"], answer);
    }

    #[test]
    fn hostile_names_stay_names() {
        let mut example = Example::new();
        example.names = ["</script><script>alert(1)</script>".into(), "{{SCRIPT}}\"><img onerror=x>".into()];
        let page = PairReport::new(example.subject()).html();
        assert!(!page.contains("alert(1)</script>") && !page.contains("<img onerror"));
        let data = data(&page);
        assert_eq!(data["source"]["name"], example.names[0]);
        assert_eq!(data["target"]["name"], example.names[1]);
    }

    #[test]
    fn packed_points_are_within_half_a_step() {
        let example = Example::new();
        let scene = Scene::new(&example.subject());
        let packed = CloudData::new("x", &scene.target);
        let bytes = STANDARD.decode(&packed.points).unwrap();
        assert_eq!(bytes.len(), 6 * scene.target.points.len());
        for (place, point) in bytes.chunks_exact(6).zip(&scene.target.points) {
            for k in 0..3 {
                let number = u16::from_le_bytes([place[2 * k], place[2 * k + 1]]);
                let unpacked = packed.low[k] + packed.step[k] * f32::from(number);
                assert!((unpacked - point[k]).abs() <= 0.51 * packed.step[k], "{unpacked} {}", point[k]);
            }
        }
    }

    #[test]
    fn no_points_and_numbers_that_are_none_make_a_page_all_the_same() {
        let mut example = Example::new();
        example.source.points.clear();
        example.target.points = vec![[f32::NAN; 3]];
        example.details = Default::default();
        example.registration.confidence = f64::NAN;
        let data = data(&PairReport::new(example.subject()).html());
        assert_eq!(data["source"]["shown"], 0);
        assert_eq!(data["answer"]["confidence"], Value::Null);
    }
}
