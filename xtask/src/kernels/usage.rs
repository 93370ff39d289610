//! What a kernel uses of a GPU, as `ptxas -v` tells it.

use std::fmt::Write;

use anyhow::{Context, Result};

const INFO: &str = "ptxas info";
const SPILLS: &str = "bytes spill stores";
const HEAD: [&str; 8] =
    ["kernel", "architecture", "registers", "stack", "spill stores", "spill loads", "shared", "constant"];

/// A kernel, or a function that kernels call, on one architecture. Sizes are in bytes.
#[derive(Debug, Default, PartialEq)]
pub struct Function {
    pub name: String,
    pub architecture: String,
    /// Functions that are called have none of their own.
    pub registers: Option<u64>,
    pub stack: u64,
    pub spill_stores: u64,
    pub spill_loads: u64,
    pub shared: u64,
    /// What the kernel has for itself and what its file has for all. None for the later architectures, of which ptxas
    /// does not tell.
    pub constant: Option<u64>,
}

impl Function {
    pub fn spills(&self) -> bool {
        self.spill_stores > 0 || self.spill_loads > 0
    }
}

/// Whether this is a line of a report, rather than a message.
pub fn is_report(line: &str) -> bool {
    line.starts_with(INFO) || line.contains(SPILLS)
}

/// All functions of all architectures in what the compiler said.
pub fn read(said: &str) -> Result<Vec<Function>> {
    let mut functions: Vec<Function> = Vec::new();
    let mut architecture = String::new();
    let mut constant_of_file = None;
    for line in said.lines().filter(|line| is_report(line)) {
        if line.contains(" bytes gmem") {
            constant_of_file = constant(line)?;
        } else if line.contains("Compiling entry function") {
            architecture = quoted(line).nth(1).with_context(|| format!("no architecture in `{line}`"))?;
        } else if let Some((_, name)) = line.split_once("Function properties for ") {
            let (name, architecture) = (name.trim().to_owned(), architecture.clone());
            functions.push(Function { name, architecture, ..Default::default() });
        } else if let Some(function) = functions.last_mut() {
            if line.contains(SPILLS) {
                function.stack = amount(line, "bytes stack frame")?.unwrap_or(0);
                function.spill_stores = amount(line, SPILLS)?.unwrap_or(0);
                function.spill_loads = amount(line, "bytes spill loads")?.unwrap_or(0);
            } else if line.contains(" registers") {
                function.registers = amount(line, "registers")?;
                function.shared = amount(line, "bytes smem")?.unwrap_or(0);
                function.constant = constant(line)?.map(|own| own + constant_of_file.unwrap_or(0));
            }
        }
    }
    Ok(functions)
}

/// The sum of all banks of constant memory in a line.
fn constant(line: &str) -> Result<Option<u64>> {
    let banks = parts(line).filter(|part| part.contains(" bytes cmem["));
    let sizes = banks.map(leading_number).collect::<Result<Vec<_>>>()?;
    Ok((!sizes.is_empty()).then(|| sizes.iter().sum()))
}

/// The number before a unit: 772 of `…, 772 bytes spill stores, …`.
fn amount(line: &str, unit: &str) -> Result<Option<u64>> {
    parts(line).find(|part| part.ends_with(unit)).map(leading_number).transpose()
}

fn parts(line: &str) -> impl Iterator<Item = &str> {
    let list = line.split_once(" : ").map_or(line, |(_, list)| list);
    list.split(',').map(|part| part.trim().trim_start_matches("Used ").trim_start_matches("used "))
}

fn leading_number(part: &str) -> Result<u64> {
    let word = part.split_whitespace().next().unwrap_or_default();
    word.parse().with_context(|| format!("no number at the beginning of `{part}`"))
}

fn quoted(line: &str) -> impl Iterator<Item = String> {
    line.split('\'').skip(1).step_by(2).map(str::to_owned)
}

/// A line for each function, in columns.
pub fn table<'a>(functions: impl Iterator<Item = &'a Function>) -> String {
    let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(functions.map(row)).collect();
    if rows.len() == 1 {
        return String::new();
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let mut table = String::new();
    for row in &rows {
        let [name, numbers @ ..] = row;
        write!(table, "{name:<0$}", widths[0]).expect("strings take everything");
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            write!(table, "  {number:>width$}").expect("strings take everything");
        }
        table.push('\n');
    }
    table
}

fn row(function: &Function) -> [String; HEAD.len()] {
    let or_dash = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    [
        function.name.clone(),
        function.architecture.clone(),
        or_dash(function.registers),
        function.stack.to_string(),
        function.spill_stores.to_string(),
        function.spill_loads.to_string(),
        function.shared.to_string(),
        or_dash(function.constant),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
ptxas info    : 72 bytes gmem, 64 bytes cmem[3], 248 bytes cmem[4]
ptxas info    : Compiling entry function 'many' for 'sm_80'
ptxas info    : Function properties for many
    432 bytes stack frame, 772 bytes spill stores, 820 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 432 bytes cumulative stack size, 128 bytes smem, 360 bytes cmem[0]
ptxas info    : Compile time = 21.765 ms
ptxas info    : Function properties for called
    0 bytes stack frame, 0 bytes spill stores, 4 bytes spill loads
ptxas warning : Value of threads per SM for entry many is out of range. .minnctapersm will be ignored
ptxas info    : 72 bytes gmem
ptxas info    : Compiling entry function 'many' for 'sm_120'
ptxas info    : Function properties for many
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
";

    #[test]
    fn every_number_is_read() {
        let functions = read(SAID).unwrap();
        let [many, called, later] = &functions[..] else { panic!("{functions:?}") };
        let expected = Function {
            name: "many".into(),
            architecture: "sm_80".into(),
            registers: Some(32),
            stack: 432,
            spill_stores: 772,
            spill_loads: 820,
            shared: 128,
            constant: Some(64 + 248 + 360),
        };
        assert_eq!(*many, expected);
        assert_eq!((called.name.as_str(), called.registers, called.spill_loads), ("called", None, 4));
        assert_eq!((later.architecture.as_str(), later.registers, later.constant), ("sm_120", Some(8), None));
        assert_eq!(functions.iter().map(Function::spills).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn the_table_has_columns() {
        let functions = read(SAID).unwrap();
        let table = table(functions.iter());
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{table}");
        assert!(lines[1].starts_with("many ") && lines[1].ends_with(" 672"), "{table}");
    }

    #[test]
    fn no_functions_give_no_table() {
        assert_eq!(table([].iter()), "");
    }
}
