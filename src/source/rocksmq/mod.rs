/*!
The log of a standalone Milvus with its built-in queue (RocksMQ): a RocksDB in the server's data folder, opened beside
the running server as a *secondary instance*. Keys are `<topic>/<message id>` with the id in decimal; values are the
messages.

A secondary never writes to the primary's files. Its own file, an info log, is kept in the task's folder.
*/

mod collection_start;
mod directory;
mod keys;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBRawIterator, LruCacheOptions, Options, ReadOptions,
    ReadTier,
};

use self::directory::{LookStart, NewestWal, OpenedFolder, WholeLook, database_identity};
use super::decode::msgstream::Glance;
use super::decode::queue_message::QueueMessage;
use super::decode::wal_message_id::Queue;
use super::idle_ticks::IdleTicks;
use super::log::{COPY_MARGIN, Log, LogError, LogRetention, ReadEnd, ReadFrom, ReadTick, Refreshed, Start, StartQuery};
use super::queue_channels::{QueueChannels, TakeMessage};
use crate::domain::{Channel, Position, Record, Timestamp};
use crate::storage::disk;

/// A RocksMQ log opened for reading.
pub(super) struct RocksMq {
    db: DB,
    /// The block that was read last.
    blocks: Cache,
    path: PathBuf,
    folder: Mutex<OpenedFolder>,
    /// The newest write-ahead log at the reader's last catch-up.
    seen: Mutex<NewestWal>,
    /// The reader's last look at the folder, unless it has failed since.
    looked: Mutex<Option<WholeLook>>,
    /// Write-locked during a catch-up.
    visible: RwLock<VisibleWals>,
    /// How far each channel was last read to its end with all files.
    read_to_end: Mutex<BTreeMap<Channel, ReadToEnd>>,
    channels: QueueChannels,
}

/// RocksDB's write-ahead logs, by number, around the last catch-up.
#[derive(Debug, Clone, Copy, Default)]
struct VisibleWals {
    /// The newest before it: everything in earlier ones is visible.
    before: u64,
    /// The newest after it: nothing in later ones is visible.
    after: u64,
}

/// Everything of a channel in write-ahead logs before `wal` had been read, up to `end`.
#[derive(Debug, Clone, Copy)]
struct ReadToEnd {
    wal: u64,
    end: Position,
}

/// What to collect: messages of a channel.
#[derive(Debug, Clone, Copy)]
struct CollectRequest<'a> {
    channel: &'a Channel,
    next: ReadFrom,
    /// Enough for one turn.
    max_bytes: usize,
}

impl RocksMq {
    /// Opens the log at `path`; `own` is the folder for the secondary's own files. `idle`: the source's time.
    ///
    /// # Errors
    /// There is no RocksDB at `path`, or it may not be read.
    pub(super) fn open(path: &Path, own: &Path, idle: IdleTicks) -> Result<RocksMq, LogError> {
        let fail = |error: rocksdb::Error| LogError::new(path.display().to_string(), error);
        if !path.join("CURRENT").exists() {
            let why = "there is no RocksDB in this folder (it is `rocksmq.path` of milvus.yaml); if it was deleted, \
                       restart the source, which makes a new one: the rows are compared then";
            return Err(LogError::new(path.display().to_string(), why));
        }
        // Before it is opened: what takes its place meanwhile is noticed.
        let folder = Mutex::new(OpenedFolder::of(path));
        disk::create_folders(own).map_err(|source| {
            let folder = own.to_owned();
            LogError::new(path.display().to_string(), OwnFolderError { folder, source })
        })?;
        let mut options = Options::default();
        // A secondary must keep every file open, because the primary may delete any of them at any time.
        options.set_max_open_files(-1);
        // Each catch-up starts this many threads to open files: the default of 16 took most of an idle task's CPU time.
        options.set_max_file_opening_threads(1);
        options.set_keep_log_file_num(1);
        options.set_max_log_file_size(1 << 20);
        let families = DB::list_cf(&options, path).map_err(fail)?;
        let blocks = undivided_cache(BLOCKS);
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&blocks);
        let families = families.iter().map(|name| {
            let mut options = Options::default();
            options.set_block_based_table_factory(&tables);
            ColumnFamilyDescriptor::new(name, options)
        });
        let db = DB::open_cf_descriptors_as_secondary(&options, path, own, families);
        let db = db.map_err(fail)?;
        Ok(RocksMq {
            db,
            blocks,
            path: path.to_owned(),
            folder,
            seen: Mutex::default(),
            looked: Mutex::default(),
            visible: RwLock::default(),
            read_to_end: Mutex::default(),
            channels: QueueChannels::new(Queue::RocksMq, idle),
        })
    }

    fn error(&self, error: impl std::error::Error + Send + Sync + 'static) -> LogError {
        LogError::new(self.path.display().to_string(), error)
    }

    /// Makes everything visible that the server has written. Questions about positions need it: they must see what the
    /// server has just acknowledged. Leaves `seen` alone, which is the reader's: it would miss messages that this makes
    /// visible.
    fn catch_up(&self) -> Result<(), LogError> {
        let mut visible = self.visible.write();
        let before = self.newest_wal()?.number;
        // Should the catch-up fail half-way, anything may have become visible.
        *visible = VisibleWals { before, after: u64::MAX };
        self.db.try_catch_up_with_primary().map_err(|error| self.error(error))?;
        *visible = VisibleWals { before, after: self.newest_wal()?.number };
        Ok(())
    }

    fn newest_wal(&self) -> Result<NewestWal, LogError> {
        NewestWal::of(&self.path).map_err(|error| self.error(error))
    }

    /// An iterator for searches.
    fn iterator(&self) -> DBRawIterator<'_> {
        self.db.raw_iterator_opt(read_options(ReadTier::All))
    }

    /// Collects messages. At the end of the log it reads only the memtable, which saves seeking in the files, whose
    /// blocks hold whole messages of megabytes. The memtable has everything behind the end that was met when all files
    /// were read, unless the source has begun a write-ahead log since: then the end of the earlier one may be in a file
    /// only, as after a restart.
    fn collect(&self, wanted: CollectRequest<'_>, passage: &mut Passage) -> Result<ReadEnd, LogError> {
        // Nobody catches up meanwhile.
        let visible = self.visible.read();
        let known = self.read_to_end.lock().get(wanted.channel).copied();
        if let (ReadFrom::After(position), Some(ReadToEnd { wal, end })) = (wanted.next, known)
            && position >= end
            && wal == visible.before
            && wal == visible.after
        {
            let near = self.collect_from(ReadTier::Memtable, wanted, passage)?;
            if near != ReadEnd::Gap {
                return Ok(near);
            }
        }
        let end = self.collect_from(ReadTier::All, wanted, passage)?;
        if end == ReadEnd::AtTail {
            let last = passage.messages.last().map(|(position, _)| *position);
            if let Some(end) = last.or(wanted.next.position()) {
                let read = ReadToEnd { wal: visible.before, end };
                self.read_to_end.lock().insert(wanted.channel.clone(), read);
            }
            self.forget_blocks();
        }
        Ok(end)
    }

    /// Frees the cached blocks: a task that has caught up must not keep the last message of its backlog in memory.
    fn forget_blocks(&self) {
        let mut blocks = self.blocks.clone();
        blocks.set_capacity(0);
        blocks.set_capacity(BLOCKS);
    }

    fn collect_from(
        &self,
        tier: ReadTier,
        CollectRequest { channel, next, max_bytes }: CollectRequest<'_>,
        passage: &mut Passage,
    ) -> Result<ReadEnd, LogError> {
        let mut options = read_options(tier);
        options.fill_cache(true);
        let mut iterator = self.db.raw_iterator_opt(options);
        match next {
            ReadFrom::First => iterator.seek(keys::before_first(channel)),
            ReadFrom::At(position) | ReadFrom::After(position) => {
                iterator.seek(keys::of(channel, position));
                // Ids have holes, so only the presence of this message proves that nothing is missing.
                if iterator.key().and_then(|key| keys::position(channel, key)) != Some(position) {
                    iterator.status().map_err(|error| self.error(error))?;
                    return Ok(ReadEnd::Gap);
                }
            }
        }
        if matches!(next, ReadFrom::After(_)) {
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

    /// Whether the channel still has this message.
    fn holds(&self, channel: &Channel, position: Position) -> bool {
        let mut iterator = self.iterator();
        iterator.seek(keys::of(channel, position));
        iterator.key().and_then(|key| keys::position(channel, key)) == Some(position)
    }

    /// An iterator that stands at the channel's last message.
    fn at_tail<'a>(&'a self, channel: &Channel) -> DBRawIterator<'a> {
        let mut iterator = self.iterator();
        iterator.seek_for_prev(keys::after_last(channel));
        iterator
    }
}

/// Size of the block cache. A turn begins at the message that the last one ended with, to verify that it exists: its
/// block should not be read from the file twice. More would only cost memory, since messages are read once.
const BLOCKS: usize = 8 << 20;

/// The task's own folder cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .folder.display())]
struct OwnFolderError {
    folder: PathBuf,
    source: std::io::Error,
}

fn read_options(tier: ReadTier) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(tier);
    // Milvus sets a prefix extractor; positions are found by the whole key.
    options.set_total_order_seek(true);
    // Only a reader that continues where it has ended reads a block again.
    options.fill_cache(false);
    options
}

/// A cache of one shard: a block is as large as its largest message, and would fit into no shard of a divided cache.
fn undivided_cache(capacity: usize) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(capacity);
    options.set_num_shard_bits(0);
    Cache::new_lru_cache_opts(&options)
}

/// Consecutive messages. Small ones share a buffer; a large one has its own, so that it keeps only itself in memory.
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

/// Default of `rocksmq.retentionTimeInMinutes`.
const DEFAULT_RETENTION: Duration = Duration::from_secs(3 * 24 * 3600);
/// Ticks and single rows are smaller than this, in bytes.
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
    /// Read anew each time: another database may have taken the folder.
    fn identity(&self) -> Option<String> {
        database_identity(&self.path)
    }

    fn retention(&self, _: &BTreeSet<Channel>) -> LogRetention {
        LogRetention::ByDefault(DEFAULT_RETENTION)
    }

    fn refresh(&self) -> Result<Refreshed, LogError> {
        // Before the look at the files, which then show everything up to that time.
        let is_due = self.channels.look();
        let mut looked = self.looked.lock();
        // What idle channels are said to have been read up to must be there for certain.
        if !is_due && looked.as_ref().is_some_and(|look| look.holds(Instant::now())) {
            return Ok(Refreshed::Unchanged);
        }
        *looked = None;
        let start = LookStart::now(&self.path);
        if self.folder.lock().is_replaced() {
            return Ok(Refreshed::Replaced);
        }
        let (seen, now) = (*self.seen.lock(), self.newest_wal()?);
        if seen == now {
            *looked = Some(start.end(now));
            return Ok(Refreshed::changed_if(is_due));
        }
        // Numbers only grow: an older copy of the files has taken their place.
        if now.number < seen.number {
            return Ok(Refreshed::Replaced);
        }
        self.catch_up()?;
        *self.seen.lock() = now;
        *looked = Some(start.end(now));
        Ok(Refreshed::Changed)
    }

    fn read(
        &self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let read = |take: &mut TakeMessage<'_>| {
            let mut passage = Passage::default();
            let end = self.collect(CollectRequest { channel, next, max_bytes }, &mut passage)?;
            let bytes = Bytes::from(passage.buffer);
            for (position, stored) in passage.messages {
                take(QueueMessage::of_rocksmq(position, &stored.message(&bytes)));
            }
            Ok(end)
        };
        self.channels.read(channel, next, visit, read, || true)
    }

    fn collection_start(&self, channel: &Channel, query: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        self.catch_up()?;
        let mut iterator = self.iterator();
        let Some(from) = collection_start::search_from(&mut iterator, channel, query.created) else {
            return iterator.status().map(|()| None).map_err(|error| self.error(error));
        };
        let found = collection_start::find(&mut iterator, channel, from, query);
        iterator.status().map_err(|error| self.error(error))?;
        Ok(found)
    }

    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        self.catch_up()?;
        let iterator = self.at_tail(channel);
        iterator.status().map_err(|error| self.error(error))?;
        Ok(iterator.key().and_then(|key| keys::position(channel, key)))
    }

    /// Retention removes the oldest messages first.
    fn is_rolled_back(&self, channel: &Channel, ReadTick { position: read, .. }: ReadTick) -> Result<bool, LogError> {
        self.catch_up()?;
        let mut iterator = self.iterator();
        iterator.seek_for_prev(keys::of(channel, read));
        let newest = iterator.key().and_then(|key| keys::position(channel, key));
        iterator.status().map_err(|error| self.error(error))?;
        Ok(newest.is_some_and(|newest| newest < read))
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        self.catch_up()?;
        let mut iterator = self.at_tail(channel);
        // From the newest tick back by twice the margin: everything behind the tick found there is late enough.
        let mut newest: Option<Timestamp> = None;
        let mut oldest = None;
        while let Some((position, message)) = collection_start::message(&iterator, channel) {
            oldest = Some(position);
            if let Glance::Tick { time, resume } = message {
                let after = newest.get_or_insert(time).minus(COPY_MARGIN);
                if time <= after.minus(COPY_MARGIN) {
                    let kept = resume.filter(|resume| self.holds(channel, *resume));
                    return Ok(Start { position: Some(kept.unwrap_or(position)), after });
                }
            }
            iterator.prev();
        }
        iterator.status().map_err(|error| self.error(error))?;
        // By name: what retention removes until it is read must be missed.
        Ok(Start { position: oldest, after: Timestamp::ZERO })
    }
}

#[cfg(test)]
mod tests;
