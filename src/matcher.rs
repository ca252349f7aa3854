//! Finds any of several texts in one pass over the bytes: the automaton of Aho and Corasick
//! ("Efficient string matching", 1975). Time is linear in the input whatever the texts are, which
//! matters because both may come from strangers: control tokens from a model file, stop strings
//! from a request.

/// A place in the automaton: how much of some text has just been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u32);

#[derive(Debug, Default)]
struct Node {
    /// Following nodes, sorted by byte.
    next: Vec<(u8, u32)>,
    /// The node of the longest proper suffix that is also the beginning of a text.
    fail: u32,
    /// Bytes from the root: the length of the beginning that this node stands for.
    depth: u32,
    /// Length of the longest text that ends here, 0 if none does.
    found: u32,
}

/// Texts compiled into an automaton.
#[derive(Debug)]
pub struct Matcher {
    nodes: Vec<Node>,
}

impl Matcher {
    /// Compiles the texts; empty ones are passed over. Time and memory are linear in their total
    /// length, which must be below 4 GiB (a model file's metadata is bounded far below that).
    pub fn new<I, P>(texts: I) -> Matcher
    where
        I: IntoIterator<Item = P>,
        P: IntoIterator<Item = u8>,
    {
        let mut matcher = Matcher { nodes: vec![Node::default()] };
        for text in texts {
            matcher.insert(text);
        }
        matcher.link();
        matcher
    }

    /// True if there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The state after one more byte. Amortised constant time.
    pub fn step(&self, state: State, byte: u8) -> State {
        let mut at = state.0;
        loop {
            if let Some(next) = self.child(at, byte) {
                return State(next);
            }
            if at == 0 {
                return State(0);
            }
            at = self.nodes[at as usize].fail;
        }
    }

    /// Length in bytes of the longest text that ends at this state.
    pub fn found(&self, state: State) -> Option<usize> {
        let found = self.nodes[state.0 as usize].found;
        (found > 0).then_some(found as usize)
    }

    /// How many of the last bytes may be the beginning of a text.
    pub fn pending(&self, state: State) -> usize {
        self.nodes[state.0 as usize].depth as usize
    }

    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let next = &self.nodes[node as usize].next;
        next.binary_search_by_key(&byte, |edge| edge.0).ok().map(|at| next[at].1)
    }

    fn insert(&mut self, text: impl IntoIterator<Item = u8>) {
        let mut at = 0u32;
        for byte in text {
            at = match self.child(at, byte) {
                Some(next) => next,
                None => self.grow(at, byte),
            };
        }
        let node = &mut self.nodes[at as usize];
        node.found = node.depth;
    }

    fn grow(&mut self, parent: u32, byte: u8) -> u32 {
        let new = self.nodes.len() as u32;
        let node = &mut self.nodes[parent as usize];
        let depth = node.depth + 1;
        let at = node.next.partition_point(|edge| edge.0 < byte);
        node.next.insert(at, (byte, new));
        self.nodes.push(Node { depth, ..Node::default() });
        new
    }

    /// Sets the links breadth first, so that the link of a shorter beginning is there before a
    /// longer one needs it.
    fn link(&mut self) {
        let mut queue: Vec<u32> = self.nodes[0].next.iter().map(|edge| edge.1).collect();
        let mut head = 0;
        while head < queue.len() {
            let at = queue[head] as usize;
            head += 1;
            for (byte, child) in self.nodes[at].next.clone() {
                let fail = self.step(State(self.nodes[at].fail), byte).0;
                let inherited = self.nodes[fail as usize].found;
                let node = &mut self.nodes[child as usize];
                node.fail = fail;
                node.found = node.found.max(inherited);
                queue.push(child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every position against a plain search.
    fn check(texts: &[&str], input: &str) {
        let matcher = Matcher::new(texts.iter().map(|text| text.bytes()));
        let mut state = State::default();
        for (at, &byte) in input.as_bytes().iter().enumerate() {
            state = matcher.step(state, byte);
            let seen = &input.as_bytes()[..=at];
            let longest = texts.iter().filter(|t| !t.is_empty() && seen.ends_with(t.as_bytes())).map(|t| t.len()).max();
            assert_eq!(matcher.found(state), longest, "{texts:?} in {input:?} at {at}");
            let pending = (0..=seen.len())
                .rev()
                .find(|&len| {
                    len == 0 || texts.iter().any(|t| len <= t.len() && t.as_bytes()[..len] == seen[seen.len() - len..])
                })
                .unwrap();
            assert_eq!(matcher.pending(state), pending, "{texts:?} in {input:?} at {at}");
        }
    }

    #[test]
    fn agrees_with_plain_search() {
        check(&["he", "she", "his", "hers"], "ushers and his hehehers");
        check(&["a", "aa", "aaa"], "aaaabaaab");
        check(&["abab", "bab", "b"], "abababab");
        check(&["<|im_end|>", "<|im_start|>", "|>"], "x<|im_<|im_end|>|><|im_start|>");
        check(&["", "é", "日本"], "caf\u{e9} 日日本");
        check(&[], "anything");
    }

    #[test]
    fn random_texts_agree_with_plain_search() {
        let mut seed = 7u64;
        let mut letter = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        };
        for _ in 0..300 {
            let mut word = |max: usize| (0..letter() % max).map(|_| ['a', 'b', 'c'][letter() % 3]).collect::<String>();
            let texts: Vec<String> = (0..5).map(|_| word(6)).collect();
            check(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &word(40));
        }
    }
}
