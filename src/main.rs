//! The `tidegate` program: hands over to [`tidegate::cli`].

fn main() {}
