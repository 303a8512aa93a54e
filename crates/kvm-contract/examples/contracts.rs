//! Prints the page `docs/contracts.md`.
#![allow(missing_docs, reason = "a program, not an interface")]

fn main() {
    #[expect(clippy::print_stdout, reason = "a page for the terminal or a file")]
    {
        print!("{}", kvm_contract::markdown());
    }
}
