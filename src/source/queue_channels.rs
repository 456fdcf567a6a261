/*!
The channels of a queue as they are being decoded. Between two reads each keeps its open transactions, so decoding goes
on where it was; read from elsewhere, a channel begins anew.
*/

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::decode::channel_decoder::ChannelDecoder;
use super::decode::queue_message::QueueMessage;
use super::decode::wal_message_id::Queue;
use super::idle_ticks::IdleTicks;
use super::log::{ReadEnd, ReadFrom};
use crate::domain::{Channel, Record};

/// The decoders of a queue's channels.
pub(super) struct QueueChannels {
    queue: Queue,
    idle: IdleTicks,
    reading: Mutex<BTreeMap<Channel, DecodedChannel>>,
}

struct DecodedChannel {
    /// Where the next read has to begin for decoding to go on.
    next: ReadFrom,
    decoder: ChannelDecoder,
}

/// Takes the messages that are read.
pub(super) type TakeMessage<'a> = dyn FnMut(QueueMessage) + 'a;

impl QueueChannels {
    pub(super) fn new(queue: Queue, idle: IdleTicks) -> QueueChannels {
        QueueChannels { queue, idle, reading: Mutex::default() }
    }

    /// Whether idle channels have to be read for the sake of time. Comes before the look at the queue.
    pub(super) fn look(&self) -> bool {
        self.idle.look()
    }

    /// Decodes what `read` reads. `is_all`: whether the channel has nothing behind what was read last; asked of a
    /// channel that is idle.
    pub(super) fn read<E>(
        &self,
        channel: &Channel,
        next: ReadFrom,
        visit: &mut dyn FnMut(Record),
        read: impl FnOnce(&mut TakeMessage<'_>) -> Result<ReadEnd, E>,
        is_all: impl FnOnce() -> bool,
    ) -> Result<ReadEnd, E> {
        let known = self.reading.lock().remove(channel).filter(|known| known.next == next);
        let mut channel_now =
            known.unwrap_or_else(|| DecodedChannel { next, decoder: ChannelDecoder::new(self.queue) });
        let DecodedChannel { next: reached, decoder } = &mut channel_now;
        let end = read(&mut |message| {
            *reached = ReadFrom::After(message.position);
            decoder.take(message, visit);
        });
        if matches!(end, Ok(ReadEnd::AtTail)) && decoder.ends_in_tick() {
            self.idle.need();
            if let Some(time) = self.idle.time()
                && decoder.is_idle_before(time)
                && is_all()
                && let Some(tick) = decoder.idle_tick(time)
            {
                visit(tick);
            }
        }
        if !matches!(end, Ok(ReadEnd::Gap)) {
            self.reading.lock().insert(channel.clone(), channel_now);
        }
        end
    }
}
