//! The stack machine that runs a pickle (Python's `pickletools` describes the opcodes).

use super::node::{Cell, Node, depth};
use super::program::{Program, Text};
use super::{MAX_DEPTH, MAX_ITEMS, Refused, literal};

/// Values on the stack: all items of the list at once, and a little more.
const MAX_STACK: usize = MAX_ITEMS + 64;
/// Of each item its own tuple and that of its numbers.
const MAX_NODES: usize = 2 * MAX_ITEMS + 64;
/// What lists have beyond their first two elements, together.
const MAX_CELLS: usize = 2 * MAX_ITEMS;
/// Python's pickler numbers every text and container.
const MAX_MEMO: usize = 4 * MAX_ITEMS;
/// Containers are begun by marks, so more open ones make no sense.
const MAX_MARKS: usize = MAX_DEPTH as usize + 1;
/// What is kept allocated for the next pickle, of each: enough for all but the largest.
const KEEP: usize = 1 << 15;
/// Numbers of the memo that may be left out.
const GAP: usize = 4096;
/// No cell.
const END: u32 = u32::MAX;

/// What a pickle works with. Texts and long numbers stay where they lie in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// A number of the memo that wasn't used.
    Unset,
    None,
    Int(i64),
    Float(f64),
    /// Two's complement, little-endian.
    Long(Text),
    /// A decimal number.
    Digits(Text),
    /// A str or bytes.
    Text(Text),
    /// The same, put together anew in `made`.
    Made(Text),
    EmptyTuple,
    /// A list, or a tuple that isn't empty.
    Node(u32),
    /// A dict or set, so many levels deep.
    Other(u8),
}

#[derive(Debug, Default)]
pub(super) struct Machine {
    stack: Vec<Value>,
    /// The height of the stack at each open mark.
    marks: Vec<usize>,
    memo: Vec<Value>,
    /// How many of the memo are set.
    memoized: usize,
    nodes: Vec<Node>,
    cells: Vec<Cell>,
    pub(super) made: Vec<u8>,
    /// The longest text that may be part of a line.
    pub(super) longest: usize,
}

impl Machine {
    /// Runs it, and returns what it made.
    pub(super) fn run(&mut self, pickle: &[u8]) -> Result<Value, Refused> {
        self.reset();
        let mut program = Program {
            bytes: pickle,
            at: 0,
        };
        // Positions are 32-bit, and what is made of a text is at most twice as long.
        if pickle.len() > 1 << 30 {
            return Err(Refused::Items);
        }
        loop {
            let opcode = program.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode, &mut program)?;
        }
    }

    fn reset(&mut self) {
        fn empty<T>(values: &mut Vec<T>) {
            values.clear();
            values.shrink_to(KEEP);
        }
        empty(&mut self.stack);
        empty(&mut self.memo);
        empty(&mut self.nodes);
        empty(&mut self.cells);
        empty(&mut self.made);
        self.marks.clear();
        (self.memoized, self.longest) = (0, 0);
    }

    #[inline]
    fn step(&mut self, opcode: u8, program: &mut Program<'_>) -> Result<(), Refused> {
        match opcode {
            // Numbers.
            b'J' => self.push(Value::Int(i32::from_le_bytes(program.array()?).into())),
            b'K' => self.push(Value::Int(program.byte()?.into())),
            b'M' => self.push(Value::Int(u16::from_le_bytes(program.array()?).into())),
            b'G' => self.push(Value::Float(f64::from_be_bytes(program.array()?))),
            0x8a => {
                let len = program.byte()?.into();
                self.long(program.text(len)?)
            }
            0x8b => {
                let len = program.length_i32()?;
                self.long(program.text(len)?)
            }
            // Texts and bytes.
            b'X' | b'B' => {
                let len = u32::from_le_bytes(program.array()?).into();
                self.text(program.text(len)?)
            }
            b'U' | b'C' | 0x8c => {
                let len = program.byte()?.into();
                self.text(program.text(len)?)
            }
            b'T' => {
                let len = program.length_i32()?;
                self.text(program.text(len)?)
            }
            0x8d | 0x8e | 0x96 => {
                let len = u64::from_le_bytes(program.array()?);
                self.text(program.text(len)?)
            }
            // Containers.
            b'(' => self.mark(),
            0x86 => self.tuple_of(2),
            b'a' => self.append(),
            b'e' => self.append_marked(),
            b']' => self.make(0, true),
            // Sharing.
            b'q' => self.put(program.byte()?.into()),
            0x94 => self.put(self.memoized),
            b'r' => self.put(u32::from_le_bytes(program.array()?) as usize),
            b'h' => self.get(program.byte()?.into()),
            b'j' => self.get(u32::from_le_bytes(program.array()?) as usize),
            _ => self.rare_step(opcode, program),
        }
    }

    /// Those that today's picklers of points don't use, or once.
    fn rare_step(&mut self, opcode: u8, program: &mut Program<'_>) -> Result<(), Refused> {
        match opcode {
            0x80 => match program.byte()? {
                0..=5 => Ok(()),
                unknown => Err(Refused::Protocol(unknown)),
            },
            // The length of what Python reads at once, which is all there already.
            0x95 => {
                let len = u64::from_le_bytes(program.array()?);
                let left = (program.bytes.len() - program.at) as u64;
                if len > left {
                    Err(Refused::Cut)
                } else {
                    Ok(())
                }
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Int(1)),
            0x89 => self.push(Value::Int(0)),
            b'I' | b'L' => {
                let line = program.line()?;
                let value = literal::integer(line.of(program.bytes))?;
                let value = match value {
                    literal::Integer::Bool(value) => Value::Int(value.into()),
                    literal::Integer::Digits(len) => {
                        self.longest = self.longest.max(len);
                        Value::Digits(Text {
                            len: len as u32,
                            ..line
                        })
                    }
                };
                self.push(value)
            }
            b'F' => {
                let line = program.line()?;
                self.push(Value::Float(literal::float(line.of(program.bytes))?))
            }
            b'S' => {
                let line = program.line()?;
                self.made(|made| literal::string(line.of(program.bytes), made))
            }
            b'V' => {
                let line = program.line()?;
                self.made(|made| literal::unicode(line.of(program.bytes), made))
            }
            b'p' => self.put(literal::index(program.line()?.of(program.bytes))?),
            b'g' => self.get(literal::index(program.line()?.of(program.bytes))?),
            b')' => self.push(Value::EmptyTuple),
            0x85 => self.tuple_of(1),
            0x87 => self.tuple_of(3),
            b't' => {
                let height = self.pop_mark()?;
                self.make_from(height, false)
            }
            b'l' => {
                let height = self.pop_mark()?;
                self.make_from(height, true)
            }
            b'0' => self.drop_top(),
            b'1' => {
                let height = self.pop_mark()?;
                self.stack.truncate(height);
                Ok(())
            }
            b'2' => {
                let top = self.top()?;
                self.push(top)
            }
            _ => self.other_step(opcode),
        }
    }

    /// Dicts and sets: no part of a point, but nothing worse.
    fn other_step(&mut self, opcode: u8) -> Result<(), Refused> {
        match opcode {
            // EMPTY_DICT, EMPTY_SET
            b'}' | 0x8f => self.push(Value::Other(1)),
            // DICT, FROZENSET
            b'd' | 0x91 => {
                let height = self.pop_mark()?;
                let depth = self.depth_above(height)?;
                self.stack.truncate(height);
                self.push(Value::Other(depth))
            }
            // SETITEM
            b's' => {
                let height = self.stack.len().saturating_sub(2);
                if height < self.floor() {
                    return Err(Refused::Operand);
                }
                self.fill_other(height)
            }
            // SETITEMS, ADDITEMS
            b'u' | 0x90 => {
                let height = self.pop_mark()?;
                self.fill_other(height)
            }
            opcode => Err(Refused::Opcode(opcode)),
        }
    }

    fn fill_other(&mut self, height: usize) -> Result<(), Refused> {
        let depth = self.depth_above(height)?;
        self.stack.truncate(height);
        match self.pop()? {
            Value::Other(before) => self.push(Value::Other(depth.max(before))),
            _ => Err(Refused::Operand),
        }
    }

    // ---- the stack ----

    #[inline]
    fn push(&mut self, value: Value) -> Result<(), Refused> {
        if self.stack.len() == MAX_STACK {
            return Err(Refused::Items);
        }
        self.stack.push(value);
        Ok(())
    }

    /// What is below belongs to whoever set the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    #[inline]
    fn top(&self) -> Result<Value, Refused> {
        let above = &self.stack[self.floor()..];
        above.last().copied().ok_or(Refused::Operand)
    }

    #[inline]
    fn pop(&mut self) -> Result<Value, Refused> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// POP takes a value, or the mark if there is none above it.
    fn drop_top(&mut self) -> Result<(), Refused> {
        if self.stack.len() == self.floor() {
            return self.pop_mark().map(drop);
        }
        self.pop().map(drop)
    }

    fn mark(&mut self) -> Result<(), Refused> {
        if self.marks.len() == MAX_MARKS {
            return Err(Refused::Depth);
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_mark(&mut self) -> Result<usize, Refused> {
        self.marks.pop().ok_or(Refused::Operand)
    }

    fn long(&mut self, bytes: Text) -> Result<(), Refused> {
        self.push(Value::Long(bytes))
    }

    #[inline]
    fn text(&mut self, text: Text) -> Result<(), Refused> {
        self.longest = self.longest.max(text.len as usize);
        self.push(Value::Text(text))
    }

    fn made(
        &mut self,
        make: impl FnOnce(&mut Vec<u8>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let start = self.made.len();
        make(&mut self.made)?;
        let len = self.made.len() - start;
        self.longest = self.longest.max(len);
        self.push(Value::Made(Text {
            at: start as u32,
            len: len as u32,
        }))
    }

    // ---- containers ----

    fn tuple_of(&mut self, len: usize) -> Result<(), Refused> {
        if self.stack.len() < self.floor() + len {
            return Err(Refused::Operand);
        }
        self.make(len, false)
    }

    fn make_from(&mut self, height: usize, is_list: bool) -> Result<(), Refused> {
        match self.stack.len() - height {
            0 if !is_list => self.push(Value::EmptyTuple),
            len => self.make(len, is_list),
        }
    }

    /// A container of the topmost values.
    fn make(&mut self, len: usize, is_list: bool) -> Result<(), Refused> {
        if self.nodes.len() == MAX_NODES {
            return Err(Refused::Items);
        }
        let node = self.nodes.len() as u32;
        self.nodes.push(Node {
            len: 0,
            first: [Value::Unset; 2],
            chain: END,
            last: END,
            depth: 1,
            is_list,
        });
        self.adopt(node, self.stack.len() - len)?;
        self.push(Value::Node(node))
    }

    fn append(&mut self) -> Result<(), Refused> {
        let height = self.stack.len().saturating_sub(1);
        if height < self.floor() {
            return Err(Refused::Operand);
        }
        self.append_above(height)
    }

    fn append_marked(&mut self) -> Result<(), Refused> {
        let height = self.pop_mark()?;
        self.append_above(height)
    }

    /// Moves what is above this height to the list below it.
    fn append_above(&mut self, height: usize) -> Result<(), Refused> {
        let list = height.checked_sub(1).filter(|at| *at >= self.floor());
        let Some(Value::Node(list)) = list.map(|at| self.stack[at]) else {
            return Err(Refused::Operand);
        };
        if !self.nodes[list as usize].is_list {
            return Err(Refused::Operand);
        }
        self.adopt(list, height)
    }

    /// Moves the values above this height to a container.
    #[inline]
    fn adopt(&mut self, node: u32, height: usize) -> Result<(), Refused> {
        let Machine {
            stack,
            nodes,
            cells,
            ..
        } = self;
        for value in &stack[height..] {
            let depth = 1 + depth(nodes, value);
            let node = &mut nodes[node as usize];
            if depth > MAX_DEPTH {
                return Err(Refused::Depth);
            }
            node.depth = node.depth.max(depth);
            if let Some(place) = node.first.get_mut(node.len as usize) {
                *place = *value;
            } else {
                if node.len as usize == MAX_ITEMS || cells.len() == MAX_CELLS {
                    return Err(Refused::Items);
                }
                let cell = cells.len() as u32;
                match cells.get_mut(node.last as usize) {
                    Some(last) => last.next = cell,
                    None => node.chain = cell,
                }
                node.last = cell;
                cells.push(Cell {
                    value: *value,
                    next: END,
                });
            }
            node.len += 1;
        }
        stack.truncate(height);
        Ok(())
    }

    /// How deep a container of what is above this height is.
    fn depth_above(&self, height: usize) -> Result<u8, Refused> {
        let depths = self.stack[height..].iter().map(|v| depth(&self.nodes, v));
        let depth = 1 + depths.max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(Refused::Depth);
        }
        Ok(depth)
    }

    pub(super) fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    /// An element of a chain, and where the next one is.
    pub(super) fn link(&self, cell: u32) -> Option<(Value, u32)> {
        let cell = self.cells.get(cell as usize)?;
        Some((cell.value, cell.next))
    }

    // ---- the memo ----

    #[inline]
    fn put(&mut self, index: usize) -> Result<(), Refused> {
        let value = self.top()?;
        match self.memo.get_mut(index) {
            Some(place) => {
                self.memoized += usize::from(matches!(place, Value::Unset));
                *place = value;
            }
            None if index < MAX_MEMO => {
                // Numbers that are left out cost memory.
                if index > 2 * self.memo.len() + GAP {
                    return Err(Refused::Memo);
                }
                self.memo.resize(index, Value::Unset);
                self.memo.push(value);
                self.memoized += 1;
            }
            None => return Err(Refused::Memo),
        }
        Ok(())
    }

    #[inline]
    fn get(&mut self, index: usize) -> Result<(), Refused> {
        match self.memo.get(index) {
            None | Some(Value::Unset) => Err(Refused::Memo),
            Some(value) => self.push(*value),
        }
    }
}
