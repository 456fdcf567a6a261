/*!
The log of a standalone Milvus with its built-in queue: a RocksDB in the server's data folder, opened beside the running
server as a *secondary instance*. Keys are `<topic>/<message id>` with the id in decimal; values are the messages.

The secondary never writes to the source's files. Its own (an info log) are kept in our data folder.
*/

mod birth;
mod directory;
mod keys;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBRawIterator, LruCacheOptions, Options, ReadOptions,
    ReadTier,
};

use self::directory::Newest;
use super::log::{COPY_MARGIN, Keeps, Log, LogError, Next, ReadEnd, Start};
use super::message::{Glance, Record, record};
use crate::domain::{Channel, CollectionId, Position, Timestamp};

/// A RocksMQ log opened for reading.
pub(super) struct RocksMq {
    db: DB,
    /// The last block that was read.
    blocks: Cache,
    path: PathBuf,
    /// The newest write-ahead log as the reader's last catch-up found it.
    seen: Mutex<Newest>,
    /// What is to be seen. Changing while one catches up.
    view: RwLock<View>,
    /// Channels of which everything before this write-ahead log has been read, and up to where then.
    whole: Mutex<BTreeMap<Channel, (u64, Position)>>,
}

/// Write-ahead logs, by number, around the last catch-up.
#[derive(Debug, Clone, Copy, Default)]
struct View {
    /// The newest before it: all of the earlier ones is to be seen.
    before: u64,
    /// The newest after it: nothing of later ones is.
    after: u64,
}

impl RocksMq {
    /// Opens the log at `path`; `own` is a folder of ours for the secondary's files.
    ///
    /// # Errors
    /// There is no RocksDB, or it may not be read.
    pub(super) fn open(path: &Path, own: &Path) -> Result<RocksMq, LogError> {
        let fail = |detail: String| LogError { place: path.display().to_string(), detail };
        if !path.join("CURRENT").exists() {
            return Err(fail("there is no RocksDB in this folder (it is `rocksmq.path` of milvus.yaml)".into()));
        }
        std::fs::create_dir_all(own).map_err(|error| fail(format!("{}: {error}", own.display())))?;
        let mut options = Options::default();
        // A secondary must keep every file open: the primary may delete one at any time.
        options.set_max_open_files(-1);
        // With every catch-up RocksDB starts so many threads to open files: the default of 16 was most of our idle CPU.
        options.set_max_file_opening_threads(1);
        options.set_keep_log_file_num(1);
        options.set_max_log_file_size(1 << 20);
        let families = DB::list_cf(&options, path).map_err(|error| fail(error.to_string()))?;
        let blocks = one_part(BLOCKS);
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&blocks);
        let families = families.iter().map(|name| {
            let mut options = Options::default();
            options.set_block_based_table_factory(&tables);
            ColumnFamilyDescriptor::new(name, options)
        });
        let db = DB::open_cf_descriptors_as_secondary(&options, path, own, families);
        let db = db.map_err(|error| fail(error.to_string()))?;
        let (seen, view, whole) = (Mutex::default(), RwLock::default(), Mutex::default());
        Ok(RocksMq { db, blocks, path: path.to_owned(), seen, view, whole })
    }

    fn error(&self, error: impl std::fmt::Display) -> LogError {
        LogError { place: self.path.display().to_string(), detail: error.to_string() }
    }

    /// For questions about positions, which must see what the server has just told about. Leaves `seen` alone: it is the
    /// reader's, who would otherwise miss what this has made visible.
    fn catch_up(&self) -> Result<(), LogError> {
        let mut view = self.view.write();
        let before = self.newest()?.number;
        // Until it is known what has come to be seen, it may be anything.
        *view = View { before, after: u64::MAX };
        self.db.try_catch_up_with_primary().map_err(|error| self.error(error))?;
        *view = View { before, after: self.newest()?.number };
        Ok(())
    }

    fn newest(&self) -> Result<Newest, LogError> {
        Newest::of(&self.path).map_err(|error| self.error(error))
    }

    /// For looking for places.
    fn iterator(&self) -> DBRawIterator<'_> {
        self.db.raw_iterator_opt(read_options(ReadTier::All))
    }

    /// Collects the messages from a place on. At the end of the log only the memtable is asked, which saves seeking in the files, whose
    /// blocks hold whole messages of megabytes. It has everything that is later than the end that was met when all files were read, unless
    /// the source has begun a write-ahead log since: the end of the one before may be in a file only, as after a restart.
    fn collect(
        &self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        passage: &mut Passage,
    ) -> Result<ReadEnd, LogError> {
        // Nobody catches up meanwhile.
        let view = self.view.read();
        let whole = self.whole.lock().get(channel).copied();
        if let (Next::After(position), Some((log, end))) = (next, whole)
            && position >= end
            && log == view.before
            && log == view.after
        {
            let near = self.collect_from(ReadTier::Memtable, (channel, next), max_bytes, passage)?;
            if near != ReadEnd::Gap {
                return Ok(near);
            }
        }
        let end = self.collect_from(ReadTier::All, (channel, next), max_bytes, passage)?;
        if end == ReadEnd::AtTail {
            let last = passage.messages.last().map(|(position, _)| *position);
            if let Some(end) = last.or(next.position()) {
                self.whole.lock().insert(channel.clone(), (view.before, end));
            }
            self.forget_blocks();
        }
        Ok(end)
    }

    /// A task that has caught up is not to keep the last message of its backlog in memory.
    fn forget_blocks(&self) {
        let mut blocks = self.blocks.clone();
        blocks.set_capacity(0);
        blocks.set_capacity(BLOCKS);
    }

    fn collect_from(
        &self,
        tier: ReadTier,
        (channel, next): (&Channel, Next),
        max_bytes: usize,
        passage: &mut Passage,
    ) -> Result<ReadEnd, LogError> {
        let mut options = read_options(tier);
        options.fill_cache(true);
        let mut iterator = self.db.raw_iterator_opt(options);
        match next {
            Next::First => iterator.seek(keys::before_first(channel)),
            Next::At(position) | Next::After(position) => {
                iterator.seek(keys::of(channel, position));
                // The ids have holes: that nothing is gone shows only in this message being there.
                if iterator.key().and_then(|key| keys::position(channel, key)) != Some(position) {
                    iterator.status().map_err(|error| self.error(error))?;
                    return Ok(ReadEnd::Gap);
                }
            }
        }
        if matches!(next, Next::After(_)) {
            iterator.next();
        }
        while let Some((key, value)) = iterator.item() {
            let Some(position) = keys::position(channel, key) else { break };
            passage.add(position, value);
            if passage.bytes >= max_bytes {
                return Ok(ReadEnd::More);
            }
            iterator.next();
        }
        iterator.status().map_err(|error| self.error(error))?;
        Ok(ReadEnd::AtTail)
    }

    fn to_tail<'a>(&'a self, channel: &Channel) -> DBRawIterator<'a> {
        let mut iterator = self.iterator();
        iterator.seek_for_prev(keys::after_last(channel));
        iterator
    }
}

/// Blocks that are kept. A turn begins at the message that the last one ended with, to see that it is there: that block is not to be read
/// from the file twice. More would only cost memory, since messages are read once.
const BLOCKS: usize = 8 << 20;

fn read_options(tier: ReadTier) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(tier);
    // Milvus sets a prefix extractor; positions are found by the whole key.
    options.set_total_order_seek(true);
    // Only who goes on where it has ended reads a block again.
    options.fill_cache(false);
    options
}

/// A cache that is not divided: a block is as large as the largest message in it, and would fit into no part of a divided one.
fn one_part(capacity: usize) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(capacity);
    options.set_num_shard_bits(0);
    Cache::new_lru_cache_opts(&options)
}

/// Messages that follow one another. Small ones are in one buffer; a large one has its own, so that it holds nothing but itself in memory.
#[derive(Default)]
struct Passage {
    buffer: Vec<u8>,
    messages: Vec<(Position, Stored)>,
    bytes: usize,
}

enum Stored {
    Buffer(Range<usize>),
    Own(Bytes),
}

impl Stored {
    fn message(self, buffer: &Bytes) -> Bytes {
        match self {
            Stored::Buffer(range) => buffer.slice(range),
            Stored::Own(message) => message,
        }
    }
}

/// How long messages are kept unless `rocksmq.retentionTimeInMinutes` says otherwise.
const RETENTION: Duration = Duration::from_secs(3 * 24 * 3600);
/// Ticks and single rows are smaller than this.
const SMALL: usize = 4096;

impl Passage {
    fn add(&mut self, position: Position, value: &[u8]) {
        let stored = if value.len() < SMALL {
            let begin = self.buffer.len();
            self.buffer.extend_from_slice(value);
            Stored::Buffer(begin..self.buffer.len())
        } else {
            Stored::Own(Bytes::copy_from_slice(value))
        };
        self.bytes += value.len();
        self.messages.push((position, stored));
    }
}

impl Log for RocksMq {
    fn keeps(&self, _: &BTreeSet<Channel>) -> Keeps {
        Keeps::ByDefault(RETENTION)
    }

    fn refresh(&self) -> Result<bool, LogError> {
        let now = self.newest()?;
        if *self.seen.lock() == now {
            return Ok(false);
        }
        self.catch_up()?;
        *self.seen.lock() = now;
        Ok(true)
    }

    fn read(
        &self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let mut passage = Passage::default();
        let end = self.collect(channel, next, max_bytes, &mut passage)?;
        let bytes = Bytes::from(passage.buffer);
        for (position, stored) in passage.messages {
            visit(record(position, &stored.message(&bytes)));
        }
        Ok(end)
    }

    fn birth(
        &self,
        channel: &Channel,
        collection: CollectionId,
        created: Timestamp,
        _begins: Option<&[u8]>,
    ) -> Result<Option<Position>, LogError> {
        self.catch_up()?;
        let mut iterator = self.iterator();
        let Some(from) = birth::search_from(&mut iterator, channel, created) else {
            return iterator.status().map(|()| None).map_err(|error| self.error(error));
        };
        let found = birth::find(&mut iterator, channel, from, collection, created);
        iterator.status().map_err(|error| self.error(error))?;
        Ok(found)
    }

    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        self.catch_up()?;
        let iterator = self.to_tail(channel);
        iterator.status().map_err(|error| self.error(error))?;
        Ok(iterator.key().and_then(|key| keys::position(channel, key)))
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        self.catch_up()?;
        let mut iterator = self.to_tail(channel);
        // The newest tick, then back twice the margin: what lies between is later than the margin's time.
        let mut newest: Option<Timestamp> = None;
        while let Some((position, message)) = birth::message(&iterator, channel) {
            if let Glance::Tick(tick) = message {
                let after = newest.get_or_insert(tick).minus(COPY_MARGIN);
                if tick <= after.minus(COPY_MARGIN) {
                    return Ok(Start { position: Some(position), after });
                }
            }
            iterator.prev();
        }
        iterator.status().map_err(|error| self.error(error))?;
        Ok(Start { position: None, after: Timestamp::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While nobody reads, the source writes and is started again: what it had in its memtable is in a file then, and its next message
    /// in a new memtable.
    #[test]
    fn a_restart_of_the_source_hides_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let channel = Channel::new("by-dev-rootcoord-dml_0");
        let source = || {
            let mut options = Options::default();
            options.create_if_missing(true);
            DB::open(&options, folder.path().join("log")).unwrap()
        };
        let put = |db: &DB, ids: Range<u64>| {
            ids.for_each(|id| db.put(keys::of(&channel, Position::at(id)), [0; 10]).unwrap());
        };
        let db = source();
        put(&db, 11..14);
        let log = RocksMq::open(&folder.path().join("log"), &folder.path().join("own")).unwrap();
        let read = |next| {
            assert!(log.refresh().unwrap());
            let mut passage = Passage::default();
            assert_eq!(log.collect(&channel, next, usize::MAX, &mut passage).unwrap(), ReadEnd::AtTail);
            passage.messages.iter().map(|(position, _)| position.number()).collect::<Vec<_>>()
        };
        assert_eq!(read(Next::First), [11, 12, 13]);
        put(&db, 14..16);
        assert_eq!(read(Next::After(Position::at(13))), [14, 15]);
        put(&db, 16..19);
        drop(db);
        let db = source();
        put(&db, 19..21);
        assert_eq!(read(Next::After(Position::at(15))), [16, 17, 18, 19, 20]);
        put(&db, 21..22);
        assert_eq!(read(Next::After(Position::at(20))), [21]);
        put(&db, 22..23);
        assert_eq!(read(Next::At(Position::at(14))), [14, 15, 16, 17, 18, 19, 20, 21, 22], "who goes back");
        put(&db, 23..24);
        assert_eq!(read(Next::After(Position::at(14)))[..5], [15, 16, 17, 18, 19]);
    }

    #[test]
    fn a_large_message_holds_nothing_but_itself() {
        let mut passage = Passage::default();
        let values = [vec![1; 17], vec![2; 5_000_000], vec![3; SMALL - 1]];
        for (at, value) in (1..).zip(&values) {
            passage.add(Position::at(at), value);
        }
        assert_eq!((passage.bytes, passage.buffer.len()), (5_000_016 + SMALL, 16 + SMALL));
        let bytes = Bytes::from(passage.buffer);
        let read = passage.messages.into_iter().map(|(position, stored)| (position, stored.message(&bytes)));
        let expected = (1..).zip(values).map(|(at, value)| (Position::at(at), Bytes::from(value)));
        assert_eq!(read.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
