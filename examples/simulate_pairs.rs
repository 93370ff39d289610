//! Writes simulated pairs: `simulate_pairs FOLDER COUNT SEED KINDS|all LO..HI NONE_SHARE none|yaw|full`.

use coregister::simulate::{Kind, Motion, PairOptions, write_pairs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let get = |i: usize, default: &str| arguments.get(i).cloned().unwrap_or_else(|| default.to_string());
    let kinds = match get(3, "all").as_str() {
        "all" => Kind::ALL.to_vec(),
        names => names.split(',').map(str::parse).collect::<Result<_, _>>()?,
    };
    let range = get(4, "0.05..0.95");
    let (low, high) = range.split_once("..").ok_or("the overlap is LO..HI")?;
    let motion = match get(6, "none").as_str() {
        "yaw" => Motion::Yaw,
        "full" => Motion::Full,
        _ => Motion::None,
    };
    let options = PairOptions {
        kinds,
        overlap: low.parse()?..high.parse()?,
        none_share: get(5, "0").parse()?,
        motion,
        ..PairOptions::default()
    };
    let folder = get(0, "pairs");
    let count: u64 = get(1, "10").parse()?;
    let start = std::time::Instant::now();
    write_pairs(folder.as_ref(), get(2, "0").parse()?, count, &options, |done| {
        if done % 50 == 0 || done == count {
            eprintln!("{done}/{count} after {:.1} s", start.elapsed().as_secs_f64());
        }
    })?;
    Ok(())
}
