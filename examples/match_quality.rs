//! Development: share of right matches per scale and rank of right candidates on pairs with ground truth.
//! `cargo run --release --example match_quality -- PAIRS.csv [SET]`
use coregister::backend::Cpu;
use coregister::geometry::*;
use coregister::pipeline::Pipeline;
use coregister::registration::Timings;
use coregister::stages::clean::canonical_pair;
use coregister::{Cloud, Config, RigidTransform};
use std::path::Path;

fn read(path: &Path) -> Cloud {
    coregister::io::read_cloud(path).unwrap()
}

fn limits(set: &str) -> (f64, f64, f64) {
    match set.split('-').next().unwrap() {
        "lidar" => (5.0, 2.0, 0.6),
        "bunny" => (5.0, 0.01, 0.004),
        "object" => (5.0, 0.05, 0.02),
        _ => (15.0, 0.3, 0.1),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let csv = Path::new(&args[1]);
    let filter = args.get(2).cloned().unwrap_or_default();
    let quiet = std::env::var("QUIET").is_ok();
    let pipeline = Pipeline { backend: Cpu::new(0).unwrap(), config: Config::default() };
    let mut totals: std::collections::BTreeMap<String, Vec<Vec<f64>>> = Default::default();
    for row in csv::Reader::from_path(csv).unwrap().records() {
        let row = row.unwrap();
        let set = row[0].to_string();
        if !set.starts_with(&filter) {
            continue;
        }
        let folder = csv.parent().unwrap();
        let (s, t) = (read(&folder.join(&row[2])), read(&folder.join(&row[3])));
        let numbers: Vec<f64> = row[5].split_whitespace().map(|x| x.parse().unwrap()).collect();
        let truth = RigidTransform::from_row_major(&numbers.try_into().unwrap()).unwrap();
        let mut timings = Timings::default();
        let start = std::time::Instant::now();
        let pair = pipeline.backend.run(|| canonical_pair(&s, &t)).unwrap();
        // canonical truth
        let st = pair
            .target
            .cloud_from_canonical
            .inverse()
            .compose(&truth)
            .compose(&pair.source.cloud_from_canonical);
        let truth_canonical = RigidTransform::new(st.rotation, st.translation / pair.unit);
        let (rre, rte, right) = limits(&set);
        let spacing = pipeline.spacing(&pair).unwrap();
        let mut scratch = Timings::default();
        let (ps, pt) = (
            pipeline.prepare(&pair.source, spacing, &mut scratch).unwrap(),
            pipeline.prepare(&pair.target, spacing, &mut scratch).unwrap(),
        );
        let radii = pipeline.views(&ps, &pt).unwrap();
        let mut line = String::new();
        let mut stats = vec![];
        let mut matches = 0;
        for r in &radii {
            let (fs, ft) = (
                pipeline.describe(&ps, r.radius, r.source, &mut scratch).unwrap(),
                pipeline.describe(&pt, r.radius, r.target, &mut scratch).unwrap(),
            );
            let h = pipeline.propose(&ps, &fs, &pt, &ft, &mut scratch).unwrap();
            matches += h.source.len();
            let mut good = 0;
            let mut az = vec![];
            for i in 0..h.source.len() {
                let moved = truth_canonical.apply(&to_vector(&h.source[i]));
                if (moved - to_vector(&h.target[i])).norm() * pair.unit < right {
                    good += 1;
                    let p = &h.poses[i];
                    let rot = nalgebra::Matrix3::from_fn(|r, c| p[3 * r + c] as f64);
                    az.push(
                        coregister::transform::rotation_angle(&(rot.transpose() * truth_canonical.rotation))
                            .to_degrees(),
                    );
                }
            }
            az.sort_by(f64::total_cmp);
            let ir = good as f64 / h.source.len().max(1) as f64;
            line += &format!(
                " {:.3} ({}/{}; {:.0}°)",
                ir,
                good,
                h.source.len(),
                az.get(az.len() / 2).copied().unwrap_or(f64::NAN)
            );
            stats.push(ir);
        }
        let answer = pipeline.register(&pair, &mut timings).unwrap();
        let c = answer.candidates.clone();
        let spent = start.elapsed().as_secs_f64();
        let errors: Vec<(f64, f64)> = c
            .iter()
            .map(|candidate| {
                let p = &candidate.pose;
                let t = RigidTransform::new(
                    nalgebra::Matrix3::from_fn(|r, c| p[3 * r + c] as f64),
                    nalgebra::Vector3::new(p[9] as f64, p[10] as f64, p[11] as f64),
                )
                .orthonormalised();
                let f = pair.to_file_frames(&t);
                (f.angle_to(&truth).to_degrees(), f.distance_to(&truth))
            })
            .collect();
        if let Ok(f) = std::env::var("DUMP") {
            use std::io::Write;
            let mut f = std::fs::OpenOptions::new().append(true).create(true).open(f).unwrap();
            for i in 0..errors.len() {
                let a = c[i].agreement;
                let correct = errors[i].0 < rre && errors[i].1 < rte && !set.ends_with("none");
                writeln!(
                    f,
                    "{set},{},{},{i},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                    &row[1],
                    &row[4],
                    a.source_overlap,
                    a.target_overlap,
                    a.source_in_front,
                    a.target_in_front,
                    a.source_in_view,
                    a.target_in_view,
                    a.rmse / spacing,
                    c[i].support.count,
                    c[i].support.score,
                    matches,
                    ps.viewpoint.unevenness,
                    pt.viewpoint.unevenness,
                    errors[i].0,
                    errors[i].1,
                    correct as u8
                )
                .unwrap();
            }
        }
        let first = errors.iter().position(|e| e.0 < rre && e.1 < rte);
        let ok = first == Some(0);
        let final_error = {
            let f = pair.to_file_frames(&coregister::pipeline::to_rigid(&answer.pose));
            (f.angle_to(&truth).to_degrees(), f.distance_to(&truth))
        };
        println!(
            "@ {set} {} {} conf {:.4} ok {} err {:.2} {:.3} free {:?}",
            &row[1],
            &row[4],
            answer.confidence,
            (final_error.0 < rre && final_error.1 < rte && !set.ends_with("none")) as u8,
            final_error.0,
            final_error.1,
            coregister::stages::verify::judge::free_motions(&answer.observation).len()
        );
        stats.extend([ok as u8 as f64, first.is_some() as u8 as f64, spent]);
        if !quiet {
            println!(
                "{set:10} {:24} ov {:.2} pts {}/{} sp {:.4} r {:?} IR{line} first {:?} of {} err {:.1}° {:.3}",
                &row[1],
                row[4].parse::<f64>().unwrap(),
                ps.points.len(),
                pt.points.len(),
                spacing as f64 * pair.unit,
                radii
                    .iter()
                    .map(|r| ((r.radius as f64 * pair.unit) * 100.0).round() / 100.0)
                    .collect::<Vec<_>>(),
                first,
                errors.len(),
                errors[0].0,
                errors[0].1
            );
            let at = |p: [f32; 3], c: &coregister::stages::clean::CanonicalCloud| {
                let q = c.cloud_from_canonical.apply(&(to_vector(&p) * pair.unit));
                format!("({:.2} {:.2} {:.2})", q.x, q.y, q.z)
            };
            println!(
                "      view s {:.3} t {:.3} at {}",
                ps.viewpoint.unevenness,
                pt.viewpoint.unevenness,
                at(pt.viewpoint.position, &pair.target)
            );
            for (i, a) in c.iter().map(|c| (c.agreement, c.log_odds)).take(3).enumerate() {
                println!("      {i} {:?} err {:.1}° {:.3}", a, errors[i].0, errors[i].1);
            }
            if let Some(f) = first {
                println!("      true: {f} {:?}", c[f].agreement);
            }
            println!(
                "      {}",
                timings
                    .stages
                    .iter()
                    .map(|(n, d)| format!("{n} {:.1}", d.as_secs_f64() * 1e3))
                    .collect::<Vec<_>>()
                    .join("  ")
            );
        }
        totals.entry(set).or_default().push(stats);
    }
    for (set, rows) in totals {
        let mean = |k: usize| rows.iter().map(|r| r[k]).sum::<f64>() / rows.len() as f64;
        let n = rows[0].len();
        println!(
            "{set:12} n {} IR {} ok {:.3} among {:.3} time {:.3}",
            rows.len(),
            (0..n - 3).map(|k| format!("{:.3}", mean(k))).collect::<Vec<_>>().join(" / "),
            mean(n - 3),
            mean(n - 2),
            mean(n - 1)
        );
    }
}
