//! A request's records on their way to the producer: keys and values one behind the other in one buffer.
//!
//! ```text
//! | key | value | key | value | …
//! ```

#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each key and each value ends: two numbers a record.
    ends: Vec<usize>,
}

impl Batch {
    /// `bytes` is a guess at the size of all records together; a wrong one only costs a copy.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(2 * records) }
    }

    /// Begins a record whose key is these parts, and returns where to append its value.
    pub fn begin(&mut self, key: &[&str]) -> &mut Vec<u8> {
        for part in key {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.end();
        &mut self.bytes
    }

    /// Ends the value that was appended.
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Key and value of each record.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.chunks_exact(2).map(move |ends| {
            let record = (&self.bytes[start..ends[0]], &self.bytes[ends[0]..ends[1]]);
            start = ends[1];
            record
        })
    }
}
