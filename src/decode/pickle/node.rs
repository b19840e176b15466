//! Containers.

use super::machine::Value;

/// A list or tuple. Points have two elements, so two have their place here; those of longer ones are a chain.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) len: u32,
    pub(super) first: [Value; 2],
    pub(super) chain: u32,
    pub(super) last: u32,
    pub(super) depth: u8,
    pub(super) is_list: bool,
}

/// An element of such a chain, and where the next one is.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) value: Value,
    pub(super) next: u32,
}

/// How deep a value is.
pub(super) fn depth(nodes: &[Node], value: &Value) -> u8 {
    match value {
        Value::Node(node) => nodes[*node as usize].depth,
        Value::Other(depth) => *depth,
        Value::EmptyTuple => 1,
        _ => 0,
    }
}
