//! The one retry loop: attempts an operation until it succeeds, is cancelled, or the caller gives it up.

use std::ops::ControlFlow;

use super::backoff::Backoff;
use super::wait::Cancel;

/// Why [`retry`] ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryEnd<B> {
    /// It was cancelled: the last attempt may have had an effect, or not.
    Cancelled,
    /// The caller gave up, for this reason.
    GivenUp(B),
}

/// Calls `attempt` until it succeeds, with growing pauses in between. `on_failure` gets every error and decides
/// whether another attempt makes sense: [`ControlFlow::Break`] gives up. Errors of a cancelled operation are not
/// passed on, since the cancellation may have caused them.
///
/// # Errors
/// [`RetryEnd`]: it was cancelled, or `on_failure` gave up.
pub fn retry<T, E, B>(
    cancel: &Cancel,
    mut attempt: impl FnMut() -> Result<T, E>,
    mut on_failure: impl FnMut(E) -> ControlFlow<B>,
) -> Result<T, RetryEnd<B>> {
    let mut backoff = Backoff::default();
    loop {
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(_) if cancel.is_cancelled() => return Err(RetryEnd::Cancelled),
            Err(error) => error,
        };
        if let ControlFlow::Break(reason) = on_failure(error) {
            return Err(RetryEnd::GivenUp(reason));
        }
        if cancel.sleep(backoff.wait()) {
            return Err(RetryEnd::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails this many times, then answers the number of attempts.
    fn fails(mut times: u32) -> impl FnMut() -> Result<u32, u32> {
        let mut attempts = 0;
        move || {
            attempts += 1;
            if times == 0 {
                return Ok(attempts);
            }
            times -= 1;
            Err(attempts)
        }
    }

    #[test]
    fn attempts_until_it_succeeds() {
        let mut seen = Vec::new();
        let outcome = retry::<_, _, ()>(&Cancel::default(), fails(2), |error| {
            seen.push(error);
            ControlFlow::Continue(())
        });
        assert_eq!((outcome, seen), (Ok(3), vec![1, 2]));
    }

    #[test]
    fn gives_up_when_told() {
        let give_up = |error| if error == 2 { ControlFlow::Break("twice") } else { ControlFlow::Continue(()) };
        assert_eq!(retry(&Cancel::default(), fails(9), give_up), Err(RetryEnd::GivenUp("twice")));
    }

    #[test]
    fn a_cancelled_operation_is_neither_judged_nor_repeated() {
        let cancel = Cancel::default();
        let attempt = || {
            cancel.cancel();
            Err::<(), _>("failed")
        };
        assert_eq!(retry(&cancel, attempt, ControlFlow::Break), Err(RetryEnd::Cancelled));
        assert_eq!(retry::<_, _, ()>(&cancel, || Ok::<_, ()>(7), |()| ControlFlow::Continue(())), Ok(7));
    }
}
