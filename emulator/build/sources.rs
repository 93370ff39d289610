//! Finds the kernels in a source file and turns it into plain C++.

use std::fmt::Write;

/// A kernel as it is declared: `extern "C" __global__ void __launch_bounds__(256) name(...)`.
#[derive(Debug, PartialEq)]
pub struct Declaration {
    pub name: String,
    /// The first argument of `__launch_bounds__`, as written.
    pub most_threads: Option<String>,
}

/// The kernels that a source declares, in its order.
pub fn kernels(source: &str) -> Vec<Declaration> {
    let source = without_comments(source);
    source.split("__global__").skip(1).filter_map(declaration).collect()
}

/// Reads what follows `__global__`, up to the name: the identifier that stands before the arguments.
fn declaration(text: &str) -> Option<Declaration> {
    let mut most_threads = None;
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        let (word, after) = rest.split_at(length);
        let arguments = after.trim_start().strip_prefix('(');
        match (word, arguments) {
            ("", _) => return None,
            ("__launch_bounds__", Some(bounds)) => {
                let end = end_of_arguments(bounds)?;
                most_threads = Some(first_argument(&bounds[..end]).to_string());
                rest = &bounds[end + 1..];
            }
            (_, Some(_)) => return Some(Declaration { name: word.to_string(), most_threads }),
            (_, None) => rest = after,
        }
    }
}

/// Where the parenthesis is that closes a list of arguments, given what follows the one that opens it.
fn end_of_arguments(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (position, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(position);
        }
    }
    None
}

fn first_argument(arguments: &str) -> &str {
    let mut depth = 0;
    let is_end = |character: char| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        character == ',' && depth == 0
    };
    arguments.split(is_end).next().unwrap_or(arguments).trim()
}

fn without_comments(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(start) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        code.push_str(&rest[..start]);
        code.push(' ');
        let comment = &rest[start..];
        rest = match comment.starts_with("//") {
            true => comment.find('\n').map_or("", |end| &comment[end..]),
            false => comment.find("*/").map_or("", |end| &comment[end + 2..]),
        };
    }
    code + rest
}

/// The source as C++ that defines `kernel_file_NUMBER`, the list of its kernels.
///
/// All kernels end up in one program, while on a device every file is a module of its own. A namespace keeps the names
/// of files apart; kernels lose their `extern "C"` because it would ignore the namespace, and a kernel named `strlen`
/// would replace the function of the C library.
pub fn as_plain_cpp(number: usize, path: &str, source: &str) -> String {
    let mut code = String::from("#include \"kernel.h\"\n");
    let body = source.replace("extern \"C\" __global__", "__global__");
    write!(code, "namespace emulated_{number} {{\n#line 1 \"{path}\"\n{body}\n").unwrap();
    code.push_str("const emulator::Kernel kernels[] = {\n");
    for Declaration { name, most_threads } in kernels(source) {
        let most_threads = most_threads.as_deref().unwrap_or("1024");
        writeln!(code, "    EMULATOR_KERNEL({name}, ({most_threads})),").unwrap();
    }
    code.push_str("};\n}\n");
    writeln!(
        code,
        "extern const emulator::KernelFile kernel_file_{number};\n\
         const emulator::KernelFile kernel_file_{number} = \
         {{emulated_{number}::kernels, sizeof emulated_{number}::kernels / sizeof(emulator::Kernel)}};"
    )
    .unwrap();
    code
}

/// C++ that finds a kernel of `files` files by its name.
///
/// It names each file, so the linker keeps them all: kernels that registered themselves would be left out of a static
/// library.
pub fn registry(files: usize) -> String {
    let mut code = String::from("#include \"kernel.h\"\n#include <cstring>\n");
    for number in 0..files {
        writeln!(code, "extern const emulator::KernelFile kernel_file_{number};").unwrap();
    }
    code.push_str("static const emulator::KernelFile* const files[] = {");
    for number in 0..files {
        write!(code, "&kernel_file_{number}, ").unwrap();
    }
    code.push_str(
        "};
extern \"C\" const emulator::Kernel* emulator_find_kernel(const char* name) {
    for (const emulator::KernelFile* file : files) {
        for (size_t i = 0; i < file->count; ++i) {
            if (strcmp(file->kernels[i].name, name) == 0) return &file->kernels[i];
        }
    }
    return nullptr;
}
",
    );
    code
}
