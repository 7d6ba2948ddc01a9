//! The log of one partition: record batches as they came, with offsets of their own. Records are never opened.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;

/// Bytes before the records of a batch of magic 2.
const HEADER_BYTES: usize = 61;

/// How many idempotent producers a partition remembers.
const PRODUCERS_MAX: usize = 1_000;

/// How many batches of a producer are known again when they are sent twice, as a broker's five.
const REMEMBERED_BATCHES: usize = 5;

/// What the log reads of a record batch (magic 2).
#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: usize,
    last_offset_delta: i32,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
}

impl Header {
    fn read(records: &[u8]) -> Result<Self, ResponseError> {
        let corrupt = ResponseError::CorruptMessage;
        let header: &[u8; HEADER_BYTES] = records.first_chunk().ok_or(corrupt)?;
        let length = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let bytes = usize::try_from(length).map_err(|_| corrupt)?.checked_add(12).ok_or(corrupt)?;
        let int32 =
            |at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let int64 = |at: usize| i64::from(int32(at)) << 32 | i64::from(int32(at + 4) as u32);
        let last_offset_delta = int32(23);
        if header[16] != 2 || !(HEADER_BYTES..=records.len()).contains(&bytes) || last_offset_delta < 0 {
            return Err(corrupt);
        }
        Ok(Self {
            bytes,
            last_offset_delta,
            max_timestamp: int64(35),
            producer_id: int64(43),
            producer_epoch: i16::from_be_bytes([header[51], header[52]]),
            base_sequence: int32(53),
        })
    }
}

#[derive(Clone, Debug)]
struct Batch {
    base: i64,
    last: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

/// What is remembered of an idempotent producer.
#[derive(Clone, Debug)]
struct Writer {
    epoch: i16,
    /// First and last sequence number and the first offset of the newest batches.
    batches: VecDeque<(i32, i32, i64)>,
}

/// The log of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    batches: VecDeque<Batch>,
    end: i64,
    bytes: usize,
    /// The first offset of each leader epoch.
    epochs: Vec<(i32, i64)>,
    writers: BTreeMap<i64, Writer>,
}

impl Log {
    /// The oldest offset.
    pub(super) fn start(&self) -> i64 {
        self.batches.front().map_or(self.end, |batch| batch.base)
    }

    /// The offset that the next record gets.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends record batches and returns the offset of the first record. A batch that an idempotent
    /// producer sends again keeps the offset that it had.
    pub(super) fn append(&mut self, mut records: &[u8], leader_epoch: i32) -> Result<i64, ResponseError> {
        let mut first = None;
        while !records.is_empty() {
            let header = Header::read(records)?;
            let (batch, rest) = records.split_at(header.bytes);
            let base = match self.known(&header)? {
                Some(base) => base,
                None => self.push(batch, &header, leader_epoch),
            };
            first.get_or_insert(base);
            records = rest;
        }
        first.ok_or(ResponseError::CorruptMessage)
    }

    /// The offset of a batch that was appended before, or an error when sequence numbers are missing.
    fn known(&self, header: &Header) -> Result<Option<i64>, ResponseError> {
        if header.producer_id < 0 || header.base_sequence < 0 {
            return Ok(None);
        }
        let Some(writer) = self.writers.get(&header.producer_id) else { return Ok(None) };
        if header.producer_epoch < writer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > writer.epoch {
            let fresh = header.base_sequence == 0;
            return fresh.then_some(None).ok_or(ResponseError::OutOfOrderSequenceNumber);
        }
        let last = sequence(header.base_sequence, header.last_offset_delta);
        if let Some((_, _, base)) =
            writer.batches.iter().find(|(from, to, _)| (*from, *to) == (header.base_sequence, last))
        {
            return Ok(Some(*base));
        }
        match writer.batches.back() {
            Some((_, to, _)) if sequence(*to, 1) == header.base_sequence => Ok(None),
            Some((_, to, _)) if header.base_sequence <= *to => Err(ResponseError::DuplicateSequenceNumber),
            Some(_) => Err(ResponseError::OutOfOrderSequenceNumber),
            None => Ok(None),
        }
    }

    fn push(&mut self, batch: &[u8], header: &Header, leader_epoch: i32) -> i64 {
        let base = self.end;
        let last = base + i64::from(header.last_offset_delta);
        let mut bytes = BytesMut::with_capacity(batch.len());
        bytes.extend_from_slice(&base.to_be_bytes());
        bytes.extend_from_slice(&batch[8..12]);
        bytes.extend_from_slice(&leader_epoch.to_be_bytes());
        bytes.extend_from_slice(&batch[16..]);
        self.bytes += bytes.len();
        self.batches.push_back(Batch {
            base,
            last,
            max_timestamp: header.max_timestamp,
            bytes: bytes.freeze(),
        });
        self.end = last + 1;
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch < leader_epoch) {
            self.epochs.push((leader_epoch, base));
        }
        self.remember(header, base);
        base
    }

    fn remember(&mut self, header: &Header, base: i64) {
        if header.producer_id < 0 || header.base_sequence < 0 {
            return;
        }
        if self.writers.len() >= PRODUCERS_MAX && !self.writers.contains_key(&header.producer_id) {
            self.writers.pop_first();
        }
        let fresh = || Writer { epoch: header.producer_epoch, batches: VecDeque::new() };
        let writer = self.writers.entry(header.producer_id).or_insert_with(fresh);
        if writer.epoch != header.producer_epoch {
            *writer = fresh();
        }
        if writer.batches.len() == REMEMBERED_BATCHES {
            writer.batches.pop_front();
        }
        let last = sequence(header.base_sequence, header.last_offset_delta);
        writer.batches.push_back((header.base_sequence, last, base));
    }

    /// Whole batches from an offset on, as many as fit `bytes_max`; the first one even if it does not,
    /// when `at_least_one` is asked for.
    pub(super) fn read(&self, offset: i64, bytes_max: usize, at_least_one: bool) -> Bytes {
        let first = self.batches.partition_point(|batch| batch.last < offset);
        let mut taken = 0;
        let batches: Vec<&Bytes> = self
            .batches
            .range(first..)
            .map(|batch| &batch.bytes)
            .take_while(|bytes| {
                let wanted = taken + bytes.len() <= bytes_max || (taken == 0 && at_least_one);
                taken += bytes.len();
                wanted
            })
            .collect();
        match batches.as_slice() {
            [] => Bytes::new(),
            [one] => (*one).clone(),
            many => {
                let mut out = BytesMut::with_capacity(many.iter().map(|bytes| bytes.len()).sum());
                many.iter().for_each(|bytes| out.extend_from_slice(bytes));
                out.freeze()
            }
        }
    }

    /// Drops the oldest batches until at most `bytes_max` are held; the newest batch stays.
    pub(super) fn trim(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.batches.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Drops every batch whose records all stand before an offset (DeleteRecords).
    pub(super) fn trim_before(&mut self, offset: i64) {
        while self.batches.front().is_some_and(|batch| batch.last < offset) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.bytes.len();
        }
    }

    /// The first batch with a record at or after a time: its offset and its newest time. Batches are
    /// not opened, so the offset may be some records early.
    pub(super) fn offset_at(&self, timestamp: i64) -> Option<(i64, i64)> {
        self.batches.iter().find(|b| b.max_timestamp >= timestamp).map(|b| (b.base, b.max_timestamp))
    }

    /// The newest time in the log and the last offset of its batch.
    pub(super) fn newest(&self) -> Option<(i64, i64)> {
        self.batches.iter().max_by_key(|b| b.max_timestamp).map(|b| (b.last, b.max_timestamp))
    }

    /// The newest epoch not above `epoch`, and the offset at which it ended (KIP-101).
    pub(super) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let next = self.epochs.partition_point(|(e, _)| *e <= epoch);
        let (found, _) = self.epochs.get(next.checked_sub(1)?)?;
        Some((*found, self.epochs.get(next).map_or(self.end, |(_, start)| *start)))
    }
}

/// Sequence numbers wrap from the largest to 0.
fn sequence(base: i32, delta: i32) -> i32 {
    base.wrapping_add(delta) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of magic 2 whose records are `size` bytes of nothing.
    fn batch(records: i32, size: usize, producer: (i64, i16, i32), timestamp: i64) -> Vec<u8> {
        let mut out = vec![0; 8];
        out.extend(((HEADER_BYTES - 12 + size) as i32).to_be_bytes());
        out.extend([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
        out.extend((records - 1).to_be_bytes());
        out.extend(timestamp.to_be_bytes());
        out.extend(timestamp.to_be_bytes());
        out.extend(producer.0.to_be_bytes());
        out.extend(producer.1.to_be_bytes());
        out.extend(producer.2.to_be_bytes());
        out.extend(records.to_be_bytes());
        out.resize(HEADER_BYTES + size, 7);
        out
    }

    const NONE: (i64, i16, i32) = (-1, -1, -1);

    #[test]
    fn records_get_the_next_offsets_and_come_back_by_offset() {
        let mut log = Log::default();
        assert_eq!(log.append(&batch(3, 10, NONE, 5), 0), Ok(0));
        assert_eq!(log.append(&[batch(2, 1, NONE, 7), batch(1, 1, NONE, 8)].concat(), 1), Ok(3));
        assert_eq!((log.start(), log.end()), (0, 6));
        let read = log.read(4, 1 << 20, true);
        assert_eq!(read.len(), 2 * (HEADER_BYTES + 1));
        assert_eq!(read[..8], 3_i64.to_be_bytes());
        assert_eq!(read[12..16], 1_i32.to_be_bytes());
        assert_eq!(log.read(0, 1, true).len(), HEADER_BYTES + 10);
        assert!(log.read(0, 1, false).is_empty() && log.read(6, 100, true).is_empty());
        assert_eq!(log.offset_at(6), Some((3, 7)));
        assert_eq!(log.newest(), Some((5, 8)));
        assert_eq!((log.end_of_epoch(0), log.end_of_epoch(7)), (Some((0, 3)), Some((1, 6))));
    }

    #[test]
    fn what_an_idempotent_producer_sends_twice_is_kept_once() {
        let mut log = Log::default();
        assert_eq!(log.append(&batch(2, 1, (9, 0, 0), 0), 0), Ok(0));
        assert_eq!(log.append(&batch(2, 1, (9, 0, 0), 0), 0), Ok(0));
        assert_eq!(log.append(&batch(1, 1, (9, 0, 2), 0), 0), Ok(2));
        assert_eq!(log.end(), 3);
        let gap = log.append(&batch(1, 1, (9, 0, 5), 0), 0);
        assert_eq!(gap, Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(log.append(&batch(1, 1, (9, 1, 0), 0), 0), Ok(3));
        assert_eq!(log.append(&batch(1, 1, (9, 0, 3), 0), 0), Err(ResponseError::InvalidProducerEpoch));
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(sequence(i32::MAX, 1), 0);
        assert_eq!(sequence(i32::MAX - 1, 1), i32::MAX);
    }

    #[test]
    fn the_oldest_batches_go_and_the_newest_stays() {
        let mut log = Log::default();
        for _ in 0..10 {
            log.append(&batch(1, 39, NONE, 0), 0).unwrap();
        }
        log.trim(250);
        assert_eq!((log.bytes(), log.start(), log.end()), (200, 8, 10));
        log.trim(0);
        assert_eq!((log.bytes(), log.start()), (100, 9));
        log.trim_before(10);
        assert_eq!((log.bytes(), log.start(), log.end()), (0, 10, 10));
    }

    #[test]
    fn what_is_no_batch_is_corrupt() {
        let whole = batch(1, 5, NONE, 0);
        let mut old = whole.clone();
        old[16] = 1;
        let mut negative = whole.clone();
        negative[8] = 0x80;
        for bad in [&whole[..60], &whole[..65], &old, &negative, &[]] {
            assert_eq!(Log::default().append(bad, 0), Err(ResponseError::CorruptMessage));
        }
    }
}
