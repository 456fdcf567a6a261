//! Topics without a leader: no broker answers questions about them, and repeating those would take all the time that
//! the other topics need.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::error::KafkaError;

use crate::domain::Channel;

/// How long such a question is not repeated, as a multiple of the time that it took to fail.
const PAUSE_FACTOR: u32 = 10;

/// The topics whose last question failed.
#[derive(Default)]
pub(super) struct Unanswered(BTreeMap<Channel, FailedQuestion>);

struct FailedQuestion {
    /// Not repeated before.
    until: Instant,
    error: KafkaError,
}

impl Unanswered {
    /// Asks; or fails as the last question about the topic did, if that was a moment ago.
    pub(super) fn ask<T>(
        &mut self,
        channel: &Channel,
        question: impl FnOnce() -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let asked = Instant::now();
        if let Some(FailedQuestion { until, error }) = self.0.get(channel)
            && asked < *until
        {
            return Err(error.clone());
        }
        let answer = question();
        match &answer {
            Ok(_) => drop(self.0.remove(channel)),
            Err(error) => {
                let until = Instant::now() + asked.elapsed() * PAUSE_FACTOR;
                self.0.insert(channel.clone(), FailedQuestion { until, error: error.clone() });
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_question_that_took_long_is_not_repeated_at_once() {
        let (slow, other) = (Channel::new("a"), Channel::new("b"));
        let mut unanswered = Unanswered::default();
        let fails = || {
            std::thread::sleep(Duration::from_millis(200));
            Err::<(), _>(KafkaError::Canceled)
        };
        assert!(unanswered.ask(&slow, fails).is_err());
        let asked_again = unanswered.ask(&slow, || Ok(()));
        assert_eq!(asked_again, Err(KafkaError::Canceled));
        assert_eq!(unanswered.ask(&other, || Ok(())), Ok(()));
        unanswered.0.values_mut().for_each(|failed| failed.until = Instant::now());
        assert_eq!(unanswered.ask(&slow, || Ok(())), Ok(()), "after a while it is");
        assert!(unanswered.0.is_empty());
    }
}
