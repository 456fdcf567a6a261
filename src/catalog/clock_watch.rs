/*!
Asks the source for its time now and then, and tells when its clock and this host's are apart: no result depends on
that, but people compare the logs of both.
*/

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::Timestamp;
use crate::milvus::{CallContext, Client, ClockSkew, SourceTime};
use crate::task::history::{EventKind, History};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(10);
/// A question that takes longer says little.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Clocks further apart than this are worth a warning.
const APART_MS: u64 = 500;
/// Clocks are together again below this: a skew at the limit is not told over and over.
const TOGETHER_MS: u64 = 400;

/// Watches one source's clock.
pub(super) struct ClockWatch {
    client: Arc<Client>,
    call: CallContext,
    source_time: Arc<SourceTime>,
    history: Arc<History>,
    due: Instant,
    clocks: Clocks,
}

/// Whether the clocks were together when last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clocks {
    Together,
    Apart,
}

impl Clocks {
    /// What they are now.
    fn with(self, skew: ClockSkew) -> Clocks {
        match (self, skew.ms.unsigned_abs()) {
            (Clocks::Together, ms) if ms > APART_MS => Clocks::Apart,
            (Clocks::Apart, ms) if ms < TOGETHER_MS => Clocks::Together,
            (clocks, _) => clocks,
        }
    }
}

impl ClockWatch {
    pub(super) fn new(
        client: Arc<Client>,
        call: &CallContext,
        source_time: Arc<SourceTime>,
        history: Arc<History>,
    ) -> ClockWatch {
        let call = CallContext { timeout: TIMEOUT, ..call.clone() };
        ClockWatch { client, call, source_time, history, due: Instant::now(), clocks: Clocks::Together }
    }

    /// Asks, when it is time to.
    pub(super) fn look(&mut self) {
        let asked = Instant::now();
        if asked < self.due {
            return;
        }
        self.due = asked + INTERVAL;
        match self.client.server_time(&self.call) {
            Ok(time) => self.source_time.answered(Timestamp(time), asked),
            Err(error) => log::debug!("{error}"),
        }
        if let Some(skew) = self.source_time.skew() {
            self.tell(skew);
        }
    }

    fn tell(&mut self, skew: ClockSkew) {
        let clocks = self.clocks.with(skew);
        if clocks == std::mem::replace(&mut self.clocks, clocks) {
            return;
        }
        let address = self.client.address();
        let text = match clocks {
            Clocks::Apart => format!(
                "the clock of the source {address} is {} ms {} this host's: times in the logs of both cannot be \
                 compared; lag and comparisons are counted in the source's time, so nothing else depends on it",
                skew.ms.unsigned_abs(),
                if skew.ms > 0 { "ahead of" } else { "behind" }
            ),
            Clocks::Together => format!("the clock of the source {address} agrees with this host's again"),
        };
        match clocks {
            Clocks::Apart => log::warn!("{text}"),
            Clocks::Together => log::info!("{text}"),
        }
        self.history.add(EventKind::Clock, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_told_once() {
        use Clocks::{Apart, Together};
        let mut clocks = Together;
        for (ms, expected) in [
            (0, Together),
            (500, Together),
            (-500, Together),
            (501, Apart),
            (450, Apart),
            (-3000, Apart),
            (399, Together),
            (-501, Apart),
            (-400, Apart),
            (i64::MIN, Apart),
            (-399, Together),
        ] {
            clocks = clocks.with(ClockSkew { ms });
            assert_eq!(clocks, expected, "{ms} ms");
        }
    }
}
