//! What a test makes outside of its namespace, and takes away again.

use super::Kube;

/// Something outside of the namespace, which goes when this is dropped.
pub struct Undone<'a> {
    kube: &'a Kube,
    command: Vec<String>,
}

impl<'a> Undone<'a> {
    /// `kubectl` with these arguments takes it away.
    pub fn by(kube: &'a Kube, command: &[&str]) -> Self {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Self { kube, command }
    }
}

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        let command: Vec<&str> = self.command.iter().map(String::as_str).collect();
        if let Err(error) = self.kube.kubectl(&command) {
            eprintln!("it stays: {error:#}");
        }
    }
}
